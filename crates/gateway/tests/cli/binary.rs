//! The binary itself: what only a process of its own can show.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use slackwater_lab::certificate::Certificate;
use slackwater_lab::kernel::room_for_descriptors;
use slackwater_lab::process::Gateway;

use crate::fake::Place;

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "listen = \"127.0.0.1:0\"\n").unwrap();
    let config = file.path().to_str().unwrap();
    let (by_variable, by_flag) = ("127.0.0.2:0", "127.0.0.3:0");
    let listens_at = |output: &Output, address: &str| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.contains(&format!("ok     listen {address}  free"))
    };

    let by_file = slackwater(&["check", "--config", config]).output().unwrap();
    assert!(listens_at(&by_file, "127.0.0.1:0"), "{by_file:?}");
    assert!(by_file.status.success(), "{by_file:?}");
    let mut command = slackwater(&["check", "--config", config]);
    let variable = command.env("SLACKWATER_LISTEN", by_variable).output().unwrap();
    assert!(listens_at(&variable, by_variable), "{variable:?}");
    assert!(!listens_at(&variable, "127.0.0.1:0"), "{variable:?}");
    let mut command = slackwater(&["check", "--config", config, "--listen", by_flag]);
    let flag = command.env("SLACKWATER_LISTEN", by_variable).output().unwrap();
    assert!(listens_at(&flag, by_flag) && !listens_at(&flag, by_variable), "{flag:?}");
    let mut command = slackwater(&["check"]);
    let file = command.env("SLACKWATER_CONFIG", config).output().unwrap();
    assert!(listens_at(&file, "127.0.0.1:0"), "{file:?}");
}

/// Growing it holds up a thread of the gateway, and all whose turn is there, for 6 to 28 ms each time.
#[tokio::test]
async fn the_kernels_table_of_descriptors_never_grows_while_clients_come() {
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_slackwater"), &[]).await.unwrap();
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX).min(65_536);
    let room = room_for_descriptors(gateway.pid()).unwrap();
    assert!(room >= most, "room for {room} of {most}");
}

#[tokio::test]
async fn a_request_over_tls_is_for_the_host_that_the_certificate_names() {
    let made = Certificate::of(&["localhost"]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, &made.certificate).unwrap();
    std::fs::write(&key, &made.key).unwrap();
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let options = ["--tls-certificate", certificate, "--tls-key", key];
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_slackwater"), &options).await.unwrap();
    let port = gateway.address().port();
    let request = |host: &str, more: &[&str]| {
        let url = format!("wss://{host}:{port}/");
        let request = ["request", "opensrf.math", "add", "1", "2", "--url", &url];
        let output = slackwater(&[&request[..], more].concat()).output().unwrap();
        let [said, complaint] = [output.stdout, output.stderr];
        (
            output.status.code(),
            String::from_utf8(said).unwrap(),
            String::from_utf8(complaint).unwrap(),
        )
    };
    assert_eq!(
        request("localhost", &["--ca", certificate]),
        (Some(0), "3\n".to_owned(), String::new())
    );
    for (host, more, complaint) in [
        ("localhost", &[][..], "invalid peer certificate"),
        ("127.0.0.1", &["--ca", certificate], "invalid peer certificate"),
        ("localhost", &["--ca", key], "there is no certificate in it"),
    ] {
        let (code, said, told) = request(host, more);
        assert_eq!((code, &*said), (Some(2), ""), "{told}");
        assert!(told.contains(complaint), "{told}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, expected) in [
        (
            "SLACKWATER_DEADLINE",
            "soon",
            "error: invalid value 'soon' for '--deadline (from SLACKWATER_DEADLINE)': expected a \
             duration such as 200ms, 30s or 1h30m",
        ),
        (
            "SLACKWATER_DEADLNE",
            "5s",
            "error: SLACKWATER_DEADLNE: no option has this environment variable; did you mean \
             SLACKWATER_DEADLINE?",
        ),
    ] {
        let output = slackwater(&["serve"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.lines().next(), Some(expected));
    }
}

#[test]
fn a_wrong_configuration_ends_serve_with_2_and_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "\nlisen = \"127.0.0.1:0\"\n").unwrap();
    let output = slackwater(&["--config", file.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let place = file.path().display();
    let expected = format!("error: {place}:2: lisen: no such key; did you mean listen?\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn check_names_a_busy_port_and_a_wrong_file() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    let output = slackwater(&["check", "--listen", &address.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("wrong  listen {address}  ")), "{text}");
    assert!(text.contains("ok     bus embedded:  "), "{text}");

    let output = slackwater(&["check", "--config", "/nowhere.toml"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("wrong  configuration  /nowhere.toml: cannot be read"), "{text}");
}

#[test]
fn a_password_is_not_shown_wherever_it_was_typed() {
    let url = "redis://user:secret@host:6379";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("bus = \"{url}\"\n")).unwrap();
    let config = file.path().to_str().unwrap();
    let mut by_variable = slackwater(&["serve"]);
    by_variable.env("SLACKWATER_BUS", url);
    let mut help = slackwater(&["serve", "--help"]);
    help.env("SLACKWATER_BUS", url);
    let by_flag = slackwater(&["serve", "--bus", url]);
    let by_file = slackwater(&["serve", "--config", config]);
    for (mut command, code) in [(by_variable, 2), (by_flag, 2), (by_file, 2), (help, 0)] {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let all = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains("secret"), "{command:?}");
    }
}

#[test]
fn status_json_is_what_the_gateway_said() {
    on_a_gateway(|control| {
        let output = slackwater(&["status", "--json", "--control", control]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status, serde_json::to_value(crate::fake::status()).unwrap());
    });
}

#[test]
fn a_closed_pipe_is_a_success() {
    on_a_gateway(|control| {
        let mut watch = slackwater(&["status", "--watch", "--control", control]);
        let mut watch =
            watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let mut first = String::new();
        BufReader::new(watch.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("serving"), "{first}");
        // Its reader is dropped: the next look, in a second, has nowhere to go.
        let begun = Instant::now();
        let ended = loop {
            if let Some(ended) = watch.try_wait().unwrap() {
                break ended;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it goes on for ever");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut complaint = String::new();
        watch.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!((ended.code(), complaint.as_str()), (Some(0), ""));
    });
}

#[test]
fn an_output_that_cannot_be_written_is_no_success() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = slackwater(&["check", "--listen", "127.0.0.1:0"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("error: cannot write the output: No space left"), "{text}");
}

/// The binary, with nothing of the environment that could mean something to it.
fn slackwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slackwater"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("SLACKWATER_")) {
        command.env_remove(name);
    }
    command.env_remove("RUNTIME_DIRECTORY").args(arguments);
    command
}

/// Runs a test that blocks beside a gateway that does not.
fn on_a_gateway(test: impl FnOnce(&str)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let place = {
        let _guard = runtime.enter();
        Place::new()
    };
    test(place.path().to_str().unwrap());
}
