//! An answer before our Close arrives whole through the proxies that sites have, even if the client
//! is slow and goes on sending. The last test shows that these tests can fail.

use std::time::Instant;

use slackwater_lab::caller::executed_by_bus;
use slackwater_lab::process::Gateway;
use slackwater_lab::proof::{is_long, length, report, skipped};
use slackwater_lab::proxied::{self, Figures, LABEL};
use slackwater_lab::proxy::{Kind, Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_close_survives_nginx() {
    survives(Kind::Nginx, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_close_survives_nginx_with_tls() {
    survives(Kind::Nginx, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_close_survives_haproxy() {
    survives(Kind::Haproxy, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_close_survives_haproxy_with_tls() {
    survives(Kind::Haproxy, true).await;
}

/// Why a gateway behind a proxy waits for the client's Close: it does not with this option, and
/// answers are destroyed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fin_right_behind_the_close_destroys_answers_behind_a_proxy() {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let options = ["--close-fin", "with-close"];
        let Some((_, figures)) = through(kind, false, &options).await else { continue };
        // How often depends on the machine, so a short run only tells.
        assert!(!is_long() || !figures.destroyed.is_empty(), "{kind:?} destroyed nothing");
    }
}

async fn survives(kind: Kind, tls: bool) {
    let Some((gateway, figures)) = through(kind, tls, &[]).await else { return };
    assert_eq!(figures.destroyed, Vec::<String>::new());
    let status = gateway.status().await.expect("a status");
    let executed = executed_by_bus(&gateway, LABEL).await.expect("a count");
    figures.totals.agree(&status, executed).expect("one story");
    assert!(
        status["crossed_requests"].as_u64() > Some(figures.whole),
        "they did not go on sending"
    );
    assert_eq!(status["closed"]["drained"].as_u64(), Some(figures.whole));
}

/// The figures of some clients of a gateway with these options, and the gateway. `None`: skipped.
async fn through(kind: Kind, tls: bool, options: &[&str]) -> Option<(Gateway, Figures)> {
    const AT_ONCE: u64 = 10;
    let began = Instant::now();
    let what = format!("{}{}", kind.program(), if tls { " with TLS" } else { "" });
    let mut all = vec!["--ebb-window", "0s", "--quiet-window", "1ms", "--log-level", "warn"];
    all.extend(options);
    let mut gateway =
        Gateway::start(env!("CARGO_BIN_EXE_slackwater"), &all).await.expect("a gateway");
    let proxy = Proxy::start(kind, gateway.address()).await.expect("a proxy that comes up");
    let Some(proxy) = proxy else {
        skipped(&what, "it is not installed");
        return None;
    };
    let mut figures = Figures::default();
    for _ in 0..length(1, 6) {
        let some = proxied::run(&mut gateway, &proxy, tls, AT_ONCE).await.expect("a run");
        figures.whole += some.whole;
        figures.destroyed.extend(some.destroyed);
        figures.totals += some.totals;
    }
    let Figures { whole, destroyed, totals } = &figures;
    report(format_args!(
        "through {what} {}: {whole} answers whole, {} destroyed {:?}; {totals:?}; {:.1} s",
        options.join(" "),
        destroyed.len(),
        destroyed.first(),
        began.elapsed().as_secs_f64(),
    ));
    Some((gateway, figures))
}
