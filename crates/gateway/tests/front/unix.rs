//! Listening on unix sockets, and on addresses that cannot be had.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use slackwater::front::listener::Refusal;
use slackwater::front::{Access, Front, ListenAddress, ListenError, Listener, Then};
use slackwater_lab::raw::handshake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::{Greeter, settings, start};

#[tokio::test]
async fn a_unix_socket_serves_and_its_file_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("front");
    let front = start_at(&path).unwrap();
    assert!(answer(&path).await.unwrap().starts_with("HTTP/1.1 101 "));

    front.refuse(Then::Stay).await.unwrap();
    let refused = answer(&path).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    front.reopen().await.unwrap();
    assert!(answer(&path).await.unwrap().starts_with("HTTP/1.1 101 "));
    front.close().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("front");
    drop(StdUnixListener::bind(&path).unwrap());
    assert!(path.exists(), "it is left behind");
    let front = start_at(&path).unwrap();
    let error = start_at(&path).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on unix:{}: address already in use", path.display()));
    assert!(answer(&path).await.unwrap().starts_with("HTTP/1.1 101 "), "the first goes on");
    front.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    start_at(&path).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named() {
    let (_front, busy) = start(settings());
    let bind =
        |address: &str| Listener::bind(address.parse().unwrap(), Refusal::Shut, &Access::default());
    let error = bind(&busy.to_string()).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {busy}: address already in use"));
    let error = bind("192.0.2.1:7682").unwrap_err().to_string();
    assert_eq!(error, "cannot listen on 192.0.2.1:7682: not an address of this host");
    for text in ["", "7682", "localhost:7682", "unix:", "unix:relative"] {
        text.parse::<ListenAddress>().unwrap_err();
    }
}

fn start_at(path: &Path) -> Result<Front, ListenError> {
    let listener =
        Listener::bind(ListenAddress::Unix(path.to_owned()), Refusal::Shut, &Access::default())?;
    Ok(Front::start(vec![listener], settings(), Greeter::new(usize::MAX)))
}

async fn answer(path: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(handshake("/", "").as_bytes()).await?;
    let mut answer = [0; 12 + 1];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn its_file_has_the_mode_and_the_owner_that_it_is_to_have() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let own = directory.path().metadata().unwrap();
    let owner = format!("{}:{}", own.uid(), own.gid());
    let access =
        Access { mode: Some("0620".parse().unwrap()), owner: Some(owner.parse().unwrap()) };
    let listen = ListenAddress::Unix(path.clone());
    let listener = Listener::bind(listen.clone(), Refusal::Shut, &access).unwrap();
    let front = Front::start(vec![listener], settings(), Greeter::new(usize::MAX));
    let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o620);
    // A new file takes its place, with the same.
    front.refuse(Then::Stay).await.unwrap();
    front.reopen().await.unwrap();
    assert_eq!(mode(), 0o620);
    assert!(answer(&path).await.unwrap().starts_with("HTTP/1.1 101"));
    front.close().await;
    let nobody = Access { mode: None, owner: Some("no-such-user".parse().unwrap()) };
    let error = Listener::bind(listen, Refusal::Shut, &nobody).unwrap_err().to_string();
    assert!(error.contains("there is no user \"no-such-user\""), "{error}");
    assert!(!path.exists(), "nothing is left of the attempt");
}
