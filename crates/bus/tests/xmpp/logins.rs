//! Every way in, and one clear line for every way that is shut.

use slackwater_bus::Endpoint;
use slackwater_bus::probe::{Found, probe};
use slackwater_bus::xmpp::{Encryption, Options};
use slackwater_lab::bus::xmpp::server::{Brand, DOMAIN, HOST, OTHER_DOMAIN, Server};
use slackwater_lab::certificate::Certificate;

use crate::client::{Client, Worker, error, options};
use crate::on_each_server;

on_each_server!(a_password_is_proven_and_what_is_wrong_is_said);

async fn a_password_is_proven_and_what_is_wrong_is_said(server: &mut Server) {
    let mut client = Client::join(options(server)).await;
    client.works(&mut Worker::join(server).await, "t").await;

    let wrong = Options { password: Some("opensrfpwx".to_owned()), ..options(server) };
    let said = error(wrong).await;
    assert!(said.contains("refuses user \"opensrf\" with the password given"), "{said}");
    let elsewhere = Options { domain: "elsewhere.example".to_owned(), ..options(server) };
    let said = error(elsewhere).await;
    assert!(said.contains("host-unknown"), "{said}");
    let required = Options { encryption: Encryption::Required, ..options(server) };
    let said = error(required).await;
    let no_tls = said.contains("it offers no TLS") || said.contains("TLS: ");
    assert!(no_tls, "{said}");
    let endpoint = Endpoint::Tcp { host: HOST.to_owned(), port: 1 };
    let said = error(Options { endpoint, ..options(server) }).await;
    assert!(said.contains("nothing listens at 127.0.0.1:1"), "{said}");
    let name = Options { username: "a@b".to_owned(), ..options(server) };
    assert!(error(name).await.contains("cannot stand in a bus address"));
    assert_eq!(probe(&options(server).endpoint).await.unwrap(), Found::Xmpp);
}

/// Settings of a server under which a password is proven otherwise.
async fn works_where(brand: Brand, more: &str) {
    let Some(server) = Server::start_with(brand, more).await.unwrap() else { return };
    let mut client = Client::join(options(&server)).await;
    // The lab's own streams log in by the same rules.
    client.works(&mut Worker::join(&server).await, "t").await;
    let wrong = Options { password: Some("wrong".to_owned()), ..options(&server) };
    assert!(error(wrong).await.contains("refuses user"));
}

#[tokio::test]
async fn prosody_that_takes_a_plain_password_only() {
    works_where(Brand::Prosody, "disable_sasl_mechanisms = { 'SCRAM-SHA-1', 'SCRAM-SHA-256' }")
        .await;
}

#[tokio::test]
async fn prosody_with_nothing_but_its_legacy_login_which_takes_a_password() {
    works_where(Brand::Prosody, "modules_enabled = { 'legacyauth', 'ping' }").await;
}

#[tokio::test]
async fn ejabberd_with_nothing_but_its_legacy_login_which_takes_a_digest() {
    let none = "disable_sasl_mechanisms: [plain, scram-sha-1, scram-sha-1-plus, scram-sha-256, \
                scram-sha-256-plus, scram-sha-512, scram-sha-512-plus, digest-md5, x-oauth2]";
    works_where(Brand::Ejabberd, none).await;
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_and_checked_where_it_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let made = Certificate::of(&[DOMAIN, OTHER_DOMAIN]).unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("certificate.pem"), made.certificate).unwrap();
    std::fs::write(path("key.pem"), made.key).unwrap();
    let more = format!(
        "ssl = {{ certificate = '{}', key = '{}' }}\nc2s_require_encryption = true",
        path("certificate.pem").display(),
        path("key.pem").display()
    );
    let server = Server::start_with(Brand::Prosody, &more).await.unwrap();
    let Some(server) = server else { return };
    // It lets nobody in whose stream is in the clear.
    let said = error(options(&server)).await;
    assert!(said.contains("it requires TLS, and bus_tls is off"), "{said}");
    let offered = Options { encryption: Encryption::Offered, ..options(&server) };
    assert_eq!(Client::join(offered).await.close().await, [""; 0]);
    let required = Options { encryption: Encryption::Required, ..options(&server) };
    let said = error(required.clone()).await;
    assert!(said.contains("TLS: invalid peer certificate"), "{said}");
    let known = Options { authorities: Some(path("certificate.pem")), ..required };
    assert_eq!(Client::join(known).await.close().await, [""; 0]);
}

/// A stock Prosody offers TLS for which it has no certificate.
#[tokio::test]
async fn tls_that_is_offered_and_does_not_work_is_done_without() {
    let server = Server::start(Brand::Prosody).await.unwrap();
    let Some(server) = server else { return };
    let offered = Options { encryption: Encryption::Offered, ..options(&server) };
    let mut client = Client::join(offered).await;
    client.works(&mut Worker::join(&server).await, "t").await;
}
