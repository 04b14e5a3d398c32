//! A call through all of the gateway that is pure: a frame from the client becomes an envelope for the
//! bus, and the envelope that answers it a frame, with the ledger in between. What sockets, tasks and
//! the kernel cost is not in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use slackwater_bus::redis::envelope::{self, Head};
use slackwater_core::osrf::envelope::Outgoing;
use slackwater_core::osrf::wrapper::Rules;
use slackwater_core::session::identity::ClientId;
use slackwater_core::session::{CloseFin, Config, FromBus, Input, Message, Output, Session};
use slackwater_core::websocket::{self, Inflater, Opcode, Reader, Writer};

/// The texts in the requests and answers that are measured, in bytes.
pub const SIZES: [usize; 3] = [200, 2_000, 50_000];

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const WORKER: &str = "opensrf:client:opensrf:private.localhost:vm:1:2";
const GATEWAY: &str = "opensrf:client:gateway:public.localhost:vm:1:2";
/// Which of a request's texts the answer has to name.
const TRACE: u32 = 1;

/// A client that makes the same call again and again.
pub struct Calls {
    session: Session,
    reader: Reader,
    writer: Writer,
    inflater: Inflater,
    now: Instant,
    frame: Vec<u8>,
    answer: String,
}

/// A step that gave nothing: the code that is measured does not do what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nothing(&'static str);

impl Calls {
    /// With a text of so many bytes there and back.
    ///
    /// # Panics
    /// Never: a constant is no JSON string.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let text: String = "The tide waits for no man, but it can be asked. "
            .chars()
            .cycle()
            .take(bytes)
            .collect();
        let request = format!(
            r#"{{"service":"opensrf.math","thread":"a thread","osrf_msg":[{{"__c":"osrfMessage","__p":{{"threadTrace":{TRACE},"locale":"en-US","tz":"America/New_York","type":"REQUEST","payload":{{"__c":"osrfMethod","__p":{{"method":"add","params":["{text}"]}}}}}}}}]}}"#
        );
        let head = format!(
            r#"{{"__c":"osrfMessage","__p":{{"threadTrace":"{TRACE}","locale":"en-US","type":"#
        );
        let answer = format!(
            r#"[{head}"RESULT","payload":{{"__c":"osrfResult","__p":{{"status":"OK","statusCode":"200","content":"{text}"}}}}}}}},{head}"STATUS","payload":{{"__c":"osrfConnectStatus","__p":{{"status":"Request Complete","statusCode":"205"}}}}}}}}]"#
        );
        let ingress = RawValue::from_string("\"gateway\"".to_owned()).expect("a JSON string");
        let config = Config {
            rules: Rules { max_size: 1 << 20, max_depth: 128, ingress },
            max_requests_in_flight: 256,
            max_sessions: 64,
            max_held_bytes: 1 << 20,
            quiet_window: Duration::from_millis(200),
            close_timeout: Duration::from_secs(10),
            close_code: 1012,
            close_fin: CloseFin::OnEcho,
            ping_interval: None,
            idle_timeout: None,
            write_stall_timeout: Duration::from_secs(30),
            activity: None,
        };
        let now = Instant::now();
        Self {
            session: Session::new(Arc::new(config), ClientId::from_random(1), 1, now),
            reader: Reader::new(1 << 20, false),
            writer: Writer::default(),
            inflater: Inflater::default(),
            now,
            frame: masked(request.as_bytes()),
            answer,
        }
    }

    /// One call. Gives the bytes that went to the bus and to the client.
    ///
    /// # Errors
    /// A step gave nothing.
    pub fn call(&mut self) -> Result<(usize, usize), Nothing> {
        let message = self.reader.read(&mut self.frame.as_slice(), &mut self.inflater);
        let Ok(Some(websocket::Message::Text(text))) = message else {
            return Err(Nothing("the frame is no message"));
        };
        self.session.handle_input(Input::Message(Message::Text(text)), self.now);
        let sent = self.sent().ok_or(Nothing("the request is not sent"))?;
        let head =
            Head { to: WORKER, from: GATEWAY, thread: &sent.thread, xid: Some(sent.xid.as_str()) };
        let to_bus = envelope::write(head, &sent.body);

        let head = Head { to: GATEWAY, from: WORKER, thread: &sent.thread, xid: Some(&sent.xid) };
        let from_bus = envelope::write(head, &self.answer);
        let incoming =
            envelope::read_incoming(from_bus.as_bytes()).ok_or(Nothing("no envelope comes"))?;
        self.session.handle_input(Input::Upstream(FromBus::Envelope(incoming)), self.now);
        let reply = self.reply().ok_or(Nothing("the answer is not passed on"))?;
        self.writer.data(Opcode::Text, reply.into_bytes(), false);
        let to_client: usize = self.writer.pieces().map(<[u8]>::len).sum();
        self.writer.take(to_client);
        self.session.handle_input(Input::Flushed, self.now);
        while self.session.poll_output().is_some() {}
        Ok((to_bus.len(), to_client))
    }

    fn sent(&mut self) -> Option<Outgoing> {
        let mut sent = None;
        while let Some(output) = self.session.poll_output() {
            if let Output::Upstream(envelope) = output {
                sent = Some(envelope);
            }
        }
        sent
    }

    fn reply(&mut self) -> Option<String> {
        let mut reply = None;
        while let Some(output) = self.session.poll_output() {
            if let Output::Reply(text) = output {
                reply = Some(text);
            }
        }
        reply
    }
}

/// A text frame as a client sends it (RFC 6455 §5.2).
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((payload.len() as u64).to_be_bytes());
    if let Ok(middle @ 126..) = u16::try_from(payload.len()) {
        frame.truncate(1);
        frame.push(0x80 | 126);
        frame.extend(middle.to_be_bytes());
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_all_the_way_and_leaves_nothing() {
        for size in SIZES {
            let mut calls = Calls::new(size);
            for _ in 0..3 {
                let (to_bus, to_client) = calls.call().expect("a call");
                assert!(to_bus > size && to_client > size, "{to_bus} {to_client}");
                assert!(!calls.session.holds(), "nobody is owed anything");
            }
        }
    }
}
