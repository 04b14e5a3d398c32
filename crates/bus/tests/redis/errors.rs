//! Why a bus cannot be joined: one line that names what to mend, and no password in it.

use std::path::PathBuf;

use slackwater_bus::redis::{self as redis_bus, Options};
use slackwater_bus::{Endpoint, Error};
use slackwater_lab::bus::redis::server::{DOMAIN, Server};

async fn error(server: &Server, change: impl FnOnce(&mut Options)) -> Error {
    let state = tempfile::tempdir().expect("a directory");
    let mut options = server.gateway(state.path());
    change(&mut options);
    assert!(!format!("{options:?}").contains("gatewaypw"));
    let error = redis_bus::connect(options).await.expect_err("an error");
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("pw"), "{text}");
    error
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port }
}

#[tokio::test]
async fn every_error_names_what_to_mend() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let port = server.port();

    let wrong = error(&server, |options| options.password = Some("wrongpw".to_owned())).await;
    assert_eq!(
        wrong.to_string(),
        format!(
            "Redis at 127.0.0.1:{port} refuses user \"gateway\" with the password given: check both"
        )
    );
    let none = error(&server, |options| options.username = "nobody".to_owned()).await;
    assert!(matches!(&none, Error::Login { user, .. } if user == "nobody"), "{none}");

    let poor = |options: &mut Options| {
        options.username = "poor".to_owned();
        options.password = Some("poorpw".to_owned());
    };
    let poor = error(&server, poor).await;
    assert!(matches!(&poor, Error::Rights { said, .. } if said.contains("NOPERM")), "{poor}");
    let anonymous = error(&server, |options| options.password = None).await;
    assert!(
        matches!(&anonymous, Error::Rights { said, .. } if said.contains("NOAUTH")),
        "{anonymous}"
    );

    let free = std::net::TcpListener::bind((DOMAIN, 0)).expect("a port");
    let hole = free.local_addr().expect("an address").port();
    let silent = error(&server, |options| options.endpoint = tcp(DOMAIN, hole)).await;
    assert!(
        matches!(&silent, Error::NoAnswer { patience, .. } if patience.as_secs() == 5),
        "{silent}"
    );
    drop(free);
    let closed = error(&server, |options| options.endpoint = tcp(DOMAIN, hole)).await;
    assert!(matches!(&closed, Error::ConnectionRefused { .. }), "{closed}");

    let unknown = error(&server, |options| options.endpoint = tcp("no.such.host.invalid", 1)).await;
    assert!(
        matches!(&unknown, Error::UnknownHost { host } if host == "no.such.host.invalid"),
        "{unknown}"
    );
    let path = PathBuf::from("/no/such/socket");
    let socket = error(&server, |options| options.endpoint = Endpoint::Unix { path }).await;
    assert!(
        matches!(&socket, Error::ConnectionRefused { place, .. } if place == "/no/such/socket"),
        "{socket}"
    );

    let name = error(&server, |options| options.router_name = "a:b".to_owned()).await;
    assert!(matches!(&name, Error::Name { what: "the router's name", .. }), "{name}");
    let state =
        error(&server, |options| options.state_directory = PathBuf::from("/dev/null/x")).await;
    assert!(matches!(&state, Error::StateDirectory { .. }), "{state}");

    assert_eq!(server.lists().await.expect("lists"), Vec::<String>::new());
}

#[tokio::test]
async fn what_answers_but_is_no_redis_is_an_error() {
    let Some(server) = Server::start().await.expect("a server") else { return };
    let listener = tokio::net::TcpListener::bind((DOMAIN, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let hello = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            drop(tokio::io::AsyncWriteExt::write_all(&mut stream, hello).await);
        }
    });
    let error = error(&server, |options| options.endpoint = tcp(DOMAIN, port)).await;
    assert!(matches!(error, Error::Connection { .. }), "{error}");
}
