//! What an XMPP server sends, whoever has made it say so.

use slackwater_bus::xmpp::login::{Account, Encryption, Login, Step};
use slackwater_bus::xmpp::parser::{Item, Parser};
use slackwater_bus::xmpp::stanza::{self, Head, Message};

const MOST_BYTES: usize = 2_000;

/// However a stream is cut, the same comes out of it; a message that was read, written again, is
/// read as the same; and a login comes to an end.
pub fn xmpp_stream(data: &[u8]) {
    let (whole, outcome) = read(data.chunks(data.len().max(1)));
    let (pieces, piecewise) = read(data.chunks(1 + data.len() % 7));
    // An error comes at the latest with the byte that makes it one.
    if outcome.is_ok() && piecewise.is_ok() {
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }
    for item in whole {
        let Item::Stanza(stanza) = item else { continue };
        let Some(message) = stanza::read(stanza) else { continue };
        if message.failure.is_some() {
            continue;
        }
        let again = write_and_read(&message);
        let Message { to, id, thread, xid, router_class, router_command, .. } = message;
        assert_eq!((again.to, again.id, again.thread, again.xid), (to, id, thread, xid));
        let commands = (again.router_class, again.router_command);
        assert_eq!(commands, (router_class, router_command));
        // A worker's words need not be JSON; what is not stays what XML can hold.
        assert_eq!(again.body, message.body);
    }
    log_in(pieces);
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Item>, Result<(), String>) {
    let (mut parser, mut items) = (Parser::new(MOST_BYTES), Vec::new());
    let mut pieces = pieces;
    let outcome = pieces.try_for_each(|piece| parser.feed(piece, &mut items));
    (items, outcome.map_err(|error| error.to_string()))
}

fn write_and_read(message: &Message) -> Message {
    let head = Head {
        to: &message.to,
        id: &message.id,
        thread: &message.thread,
        xid: message.xid.as_deref().unwrap_or_default(),
        router_from: &message.from,
        router_class: &message.router_class,
        router_command: &message.router_command,
    };
    let text = stanza::write(&head, &message.body);
    let stream = format!(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>{text}"
    );
    let mut parser = Parser::new(usize::MAX);
    let mut items = Vec::new();
    parser.feed(stream.as_bytes(), &mut items).expect("what we write is XML");
    let Some(Item::Stanza(stanza)) = items.pop() else { panic!("a stanza: {text}") };
    assert_eq!(items.len(), 1, "one stanza: {text}");
    stanza::read(stanza).expect("a message")
}

fn log_in(items: Vec<Item>) {
    let account = Account {
        user: "user".to_owned(),
        password: "pencil".to_owned(),
        domain: "domain".to_owned(),
        resource: "resource".to_owned(),
    };
    let mut login = Login::new(account, Encryption::Offered, "fyko+d2lbbFgONRv9qkxdawL".to_owned());
    for item in items {
        match login.hear(item) {
            Ok(Step::Send(text)) => {
                assert!(!text.contains("pencil") || text.contains("<password>"))
            }
            Ok(Step::Wait | Step::Secure | Step::Restart) => {}
            Ok(Step::Done(_)) | Err(_) => return,
        }
    }
}
