//! From the header of a stream to an address of our own: STARTTLS, SASL and a bound resource
//! (RFC 6120 §5-7), or what servers had before XMPP 1.0 (`jabber:iq:auth`, XEP-0078), which is what
//! OpenSRF's own programs use.
//!
//! Law: a password is sent in the clear only if the server offers nothing better, and is tried once:
//! a server may bar whoever tries again.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use slackwater_core::osrf::envelope::Address;

use super::escape;
use super::parser::{CLIENT, Element, Item, STREAMS};
use super::scram::{Hash, Scram};
use super::stanza::why;

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
const LEGACY: &str = "jabber:iq:auth";

/// Whether the stream is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Never.
    Off,
    /// If the server offers it. Its certificate is not looked at: who could change it could as well
    /// take the offer away.
    Offered,
    /// Always, with a certificate that is trusted and names the domain.
    Required,
}

/// Who we are to a server.
#[derive(Clone)]
pub struct Account {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The domain.
    pub domain: String,
    /// The resource to ask for.
    pub resource: String,
}

/// Without the password.
impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Account({}@{}/{})", self.user, self.domain, self.resource)
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    Wait,
    /// Send this.
    Send(String),
    /// Encrypt the stream, and begin it again.
    Secure,
    /// Begin the stream again.
    Restart,
    /// This is our address.
    Done(Address),
}

/// Why there is no login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Wrong user or password.
    Refused,
    /// Anything else, in words.
    Other(String),
}

/// A login under way.
#[derive(Debug)]
pub struct Login {
    account: Account,
    encryption: Encryption,
    nonce: String,
    is_secure: bool,
    is_authentic: bool,
    state: State,
}

enum State {
    Opening,
    Features,
    Securing,
    Proving(Option<Box<Scram>>),
    Binding,
    Fields { stream: Option<String> },
    Legacy,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Opening => "Opening",
            Self::Features => "Features",
            Self::Securing => "Securing",
            Self::Proving(_) => "Proving",
            Self::Binding => "Binding",
            Self::Fields { .. } => "Fields",
            Self::Legacy => "Legacy",
        })
    }
}

impl Login {
    /// `nonce`: random, letters and digits.
    pub fn new(account: Account, encryption: Encryption, nonce: String) -> Self {
        let state = State::Opening;
        Self { account, encryption, nonce, is_secure: false, is_authentic: false, state }
    }

    /// What begins a stream.
    pub fn header(&self) -> String {
        header(&self.account.domain)
    }

    /// Takes what came.
    ///
    /// # Errors
    /// There will be no login.
    pub fn hear(&mut self, item: Item) -> Result<Step, Failure> {
        match item {
            Item::Opened(opening) if opening.has_features => {
                self.state = State::Features;
                // Some servers tell features of a stream that has none; see `features`.
                Ok(Step::Wait)
            }
            Item::Opened(opening) => self.ask_for_fields(opening.id),
            Item::Stanza(element) if element.is("error", STREAMS) => {
                Err(other(format!("it says {}", why(&element))))
            }
            Item::Stanza(element) => self.stanza(&element),
            Item::TooLarge(_) => Err(other("it says too much")),
            Item::Closed => Err(other("it closes the stream")),
        }
    }

    fn stanza(&mut self, element: &Element) -> Result<Step, Failure> {
        match std::mem::replace(&mut self.state, State::Opening) {
            State::Features if element.is("features", STREAMS) => self.features(element),
            State::Securing if element.is("proceed", TLS) => {
                self.is_secure = true;
                Ok(Step::Secure)
            }
            State::Proving(scram) => self.prove(scram, element),
            State::Binding => self.bound(element),
            State::Fields { stream } => self.choose_field(stream.as_deref(), element),
            State::Legacy => {
                answered(element)?;
                let Account { user, domain, resource, .. } = &self.account;
                Ok(Step::Done(format!("{user}@{domain}/{resource}")))
            }
            State::Opening | State::Features | State::Securing => {
                Err(other(format!("it says <{}> out of turn", element.name())))
            }
        }
    }

    fn features(&mut self, features: &Element) -> Result<Step, Failure> {
        let starttls = features.child("starttls", TLS);
        match (self.is_secure, self.encryption, starttls) {
            (true, _, _) | (false, Encryption::Off | Encryption::Offered, None) => {}
            (false, Encryption::Off, Some(starttls)) => {
                if starttls.child("required", TLS).is_some() {
                    return Err(other("it requires TLS, and bus_tls is off"));
                }
            }
            (false, Encryption::Required, None) => {
                return Err(other("it offers no TLS, which bus_tls requires"));
            }
            (false, Encryption::Offered | Encryption::Required, Some(_)) => {
                self.state = State::Securing;
                return Ok(Step::Send(format!("<starttls xmlns='{TLS}'/>")));
            }
        }
        if self.is_authentic {
            self.state = State::Binding;
            if features.child("bind", BIND).is_none() {
                return Err(other("it binds no resource"));
            }
            let mut out = format!("<iq type='set' id='bind'><bind xmlns='{BIND}'><resource>");
            escape::text(&mut out, &self.account.resource);
            out.push_str("</resource></bind></iq>");
            // RFC 3921 wanted a session, too; who still does says so without `optional`.
            if features
                .child("session", SESSION)
                .is_some_and(|session| session.child("optional", SESSION).is_none())
            {
                out.push_str(&format!(
                    "<iq type='set' id='session'><session xmlns='{SESSION}'/></iq>"
                ));
            }
            return Ok(Step::Send(out));
        }
        let mechanisms: Vec<&str> = features
            .child("mechanisms", SASL)
            .map(|list| list.children.iter().map(|one| one.text.trim()).collect())
            .unwrap_or_default();
        let Account { user, password, .. } = &self.account;
        let (mechanism, first, scram) = if let Some(hash) = Hash::of(&mechanisms) {
            let scram = Scram::new(hash, user, password, &self.nonce);
            (hash.mechanism(), scram.first(), Some(Box::new(scram)))
        } else if mechanisms.contains(&"PLAIN") {
            ("PLAIN", format!("\0{user}\0{password}"), None)
        } else if features.child("auth", "http://jabber.org/features/iq-auth").is_some() {
            return self.ask_for_fields(None);
        } else {
            let offered = if mechanisms.is_empty() { "none".into() } else { mechanisms.join(", ") };
            return Err(other(format!(
                "it offers no login that we know (SCRAM-SHA-512, -256, -1 or PLAIN; it has: {offered})"
            )));
        };
        self.state = State::Proving(scram);
        let first = STANDARD.encode(first);
        Ok(Step::Send(format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>")))
    }

    fn prove(&mut self, scram: Option<Box<Scram>>, element: &Element) -> Result<Step, Failure> {
        let said = STANDARD.decode(element.text.trim()).unwrap_or_default();
        let said = String::from_utf8(said).unwrap_or_default();
        if element.is("failure", SASL) {
            return Err(match why(element) {
                why if why.starts_with("not-authorized") => Failure::Refused,
                why => other(format!("it refuses the login: {why}")),
            });
        }
        match scram {
            Some(scram) if element.is("challenge", SASL) && scram.accepts(&said) => {
                // Some servers prove themselves before they say that it is a success.
                self.state = State::Proving(None);
                Ok(Step::Send(format!("<response xmlns='{SASL}'/>")))
            }
            Some(mut scram) if element.is("challenge", SASL) => {
                let answer = STANDARD.encode(scram.answer(&said).map_err(other)?);
                self.state = State::Proving(Some(scram));
                Ok(Step::Send(format!("<response xmlns='{SASL}'>{answer}</response>")))
            }
            scram if element.is("success", SASL) => {
                if scram.is_some_and(|scram| !scram.accepts(&said)) {
                    return Err(other("it does not know the password itself"));
                }
                self.is_authentic = true;
                Ok(Step::Restart)
            }
            _ => Err(other(format!("it says <{}> out of turn", element.name()))),
        }
    }

    fn bound(&mut self, element: &Element) -> Result<Step, Failure> {
        answered(element)?;
        let address = element.child("bind", BIND).and_then(|bind| bind.child("jid", BIND));
        let Some(address) = address else { return Err(other("it binds no address")) };
        Ok(Step::Done(address.text.trim().to_owned()))
    }

    fn ask_for_fields(&mut self, stream: Option<String>) -> Result<Step, Failure> {
        if self.encryption == Encryption::Required && !self.is_secure {
            return Err(other("it offers no TLS, which bus_tls requires"));
        }
        self.state = State::Fields { stream };
        let mut out = format!("<iq type='get' id='fields'><query xmlns='{LEGACY}'><username>");
        escape::text(&mut out, &self.account.user);
        out.push_str("</username></query></iq>");
        Ok(Step::Send(out))
    }

    /// Answers with the digest if the server takes it, else with the password.
    fn choose_field(&mut self, stream: Option<&str>, element: &Element) -> Result<Step, Failure> {
        answered(element)?;
        let Some(fields) = element.child("query", LEGACY) else {
            return Err(other("it offers no login that we know"));
        };
        let Account { user, password, resource, .. } = &self.account;
        let mut out = format!("<iq type='set' id='login'><query xmlns='{LEGACY}'><username>");
        escape::text(&mut out, user);
        out.push_str("</username>");
        match stream.filter(|_| fields.child("digest", LEGACY).is_some()) {
            Some(stream) => {
                let both = format!("{stream}{password}");
                let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes());
                let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                out.push_str(&format!("<digest>{hex}</digest>"));
            }
            None => {
                out.push_str("<password>");
                escape::text(&mut out, password);
                out.push_str("</password>");
            }
        }
        out.push_str("<resource>");
        escape::text(&mut out, resource);
        out.push_str("</resource></query></iq>");
        self.state = State::Legacy;
        Ok(Step::Send(out))
    }
}

/// What begins a stream to this domain.
pub(crate) fn header(domain: &str) -> String {
    let mut out = "<?xml version='1.0'?><stream:stream to=\"".to_owned();
    escape::attribute(&mut out, domain);
    out.push_str(&format!("\" version='1.0' xmlns='{CLIENT}' xmlns:stream='{STREAMS}'>"));
    out
}

fn other(why: impl Into<String>) -> Failure {
    Failure::Other(why.into())
}

/// Whether an `<iq/>` is a result.
fn answered(element: &Element) -> Result<(), Failure> {
    if element.is("iq", CLIENT) && element.attribute("type") == Some("result") {
        return Ok(());
    }
    let why = element.child("error", CLIENT).map_or_else(|| element.name().to_owned(), why);
    Err(if why.starts_with("not-authorized") {
        Failure::Refused
    } else {
        other(format!("it refuses the login: {why}"))
    })
}
