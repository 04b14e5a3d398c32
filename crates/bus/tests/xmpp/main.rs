//! The XMPP bus on a real ejabberd and a real Prosody, stock both.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod client;
mod logins;
mod losses;
mod traffic;

/// Makes of each function `async fn name(server: &mut Server)` a test on each server.
macro_rules! on_each_server {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use super::*;

            #[tokio::test]
            async fn prosody() {
                let server = Server::start(slackwater_lab::bus::xmpp::server::Brand::Prosody).await.unwrap();
                let Some(mut server) = server else { return };
                super::$test(&mut server).await;
            }

            #[tokio::test]
            async fn ejabberd() {
                let server = Server::start(slackwater_lab::bus::xmpp::server::Brand::Ejabberd).await.unwrap();
                let Some(mut server) = server else { return };
                super::$test(&mut server).await;
            }
        }
    )+ };
}
pub(crate) use on_each_server;
