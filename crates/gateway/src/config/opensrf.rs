//! OpenSRF's own configuration file, `opensrf_core.xml`, read as it is: the settings of one of its
//! sections are options of ours, the lowest of all. What we do not know in it belongs to others.

mod document;

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::document::Document;
use super::bus::BusText;
use super::choices::TransportName;
use super::error::ConfigError;
use super::file::read_text;
use super::logs::LogFormat;
use super::options::ServeOptions;

/// Elements of `shared` that hold the beginnings of methods whose parameters are not logged.
const PROTECTED: &str = "shared/log_protect/match_string";
/// Where OpenSRF finds its bus unless somebody wanted otherwise: 3 and 4.
const XMPP_PORT: u16 = 5222;
const REDIS_PORT: u16 = 6379;

/// Whether the bus of the file is the one to relay to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TheirBus {
    /// Another one is: what the file says of its bus is not even looked at.
    Unused,
    /// It is; and its kind, if somebody knows it better than its port tells.
    Used(Option<TransportName>),
}

/// Reads the options in `section` of the file.
///
/// # Errors
/// [`ConfigError::Unreadable`], or [`ConfigError::InOpensrfFile`], which names the element.
pub(super) fn read(path: &Path, section: &str, bus: TheirBus) -> Result<ServeOptions, ConfigError> {
    let text = read_text(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
    options(&text, section, bus)
        .map_err(|message| ConfigError::InOpensrfFile { path: path.to_owned(), message })
}

/// The options in `section` of a file with this text.
///
/// # Errors
/// What is wrong, in one line that shows no password.
pub fn options(text: &str, section: &str, bus: TheirBus) -> Result<ServeOptions, String> {
    let document = Document::read(text)?;
    if !document.has(section) {
        return Err(format!("there is no section <{section}>"));
    }
    let section = Section { document: &document, name: section };
    let level =
        section.parsed::<u8>("loglevel", "a number from 0 to 5")?.map(|level| match level {
            0 => Ok("off"),
            1 => Ok("error"),
            2 => Ok("warn"),
            3 => Ok("info"),
            4 => Ok("debug"),
            5 => Ok("trace"),
            _ => Err(section.wrong("loglevel", "expected a number from 0 to 5")),
        });
    let size =
        section.parsed::<u64>("msg_size_warn", "a number of bytes")?.filter(|size| *size > 0);
    let protected =
        document.all(PROTECTED).map(|text| text.clone().map(|text| text.trim().to_owned()));
    let protected: Vec<String> = protected
        .collect::<Result<_, _>>()
        .map_err(|error| format!("<shared><log_protect><match_string>: {error}"))?;
    Ok(ServeOptions {
        bus: match bus {
            TheirBus::Unused => None,
            TheirBus::Used(transport) => Some(section.bus(transport)?),
        },
        message_size_warning: size
            .map(|size| section.known("msg_size_warn", &size.to_string()))
            .transpose()?,
        log_level: level.transpose()?.map(|level| section.known("loglevel", level)).transpose()?,
        log_to: section.option("logfile")?,
        log_format: Some(LogFormat::Opensrf),
        log_tag: section.option("logtag")?,
        log_facility: section.option("syslog")?,
        activity_log: Some(true),
        activity_facility: section.option("actlog")?,
        log_protect: Some(protected.into_iter().filter(|start| !start.is_empty()).collect()),
        max_log_length: section.option("loglength")?,
        ..ServeOptions::default()
    })
}

/// One section of the file.
struct Section<'a> {
    document: &'a Document,
    name: &'a str,
}

impl Section<'_> {
    /// The text of an element; of several the first. An empty one counts as absent.
    fn text(&self, element: &str) -> Result<Option<&str>, String> {
        match self.document.all(&format!("{}/{element}", self.name)).next() {
            Some(Ok(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(Err(error)) => Err(self.wrong(element, error)),
            None => Ok(None),
        }
    }

    fn needed(&self, element: &str) -> Result<&str, String> {
        self.text(element)?.ok_or_else(|| self.wrong(element, "is missing"))
    }

    fn option<T: FromStr<Err: Display>>(&self, element: &str) -> Result<Option<T>, String> {
        self.text(element)?.map(|text| self.known(element, text)).transpose()
    }

    fn known<T: FromStr<Err: Display>>(&self, element: &str, text: &str) -> Result<T, String> {
        text.parse().map_err(|error| self.wrong(element, error))
    }

    fn parsed<T: FromStr>(&self, element: &str, expected: &str) -> Result<Option<T>, String> {
        let wrong = |_| self.wrong(element, format_args!("expected {expected}"));
        self.text(element)?.map(|text| text.parse().map_err(wrong)).transpose()
    }

    fn wrong(&self, element: &str, what: impl Display) -> String {
        format!("<{}><{element}>: {what}", self.name)
    }

    /// The bus as a URL. No error shows the password.
    fn bus(&self, transport: Option<TransportName>) -> Result<BusText, String> {
        let name = |element| {
            let name = self.needed(element)?;
            let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            fits.then_some(name)
                .ok_or_else(|| self.wrong(element, "expected letters, digits, '.', '_', '-'"))
        };
        let port: u16 = self
            .parsed("port", "a port from 1 to 65535")?
            .filter(|port| *port > 0)
            .ok_or_else(|| self.wrong("port", "is missing"))?;
        let scheme = match (transport, port) {
            (Some(TransportName::Redis), _) | (None, REDIS_PORT) => "redis",
            (Some(TransportName::Xmpp), _) | (None, XMPP_PORT) => "xmpp",
            (None, _) => "opensrf",
        };
        let (domain, user) = (name("domain")?, name("username")?);
        let password = utf8_percent_encode(self.needed("passwd")?, NON_ALPHANUMERIC);
        let router = name("router_name")?;
        let url = format!("{scheme}://{user}:{password}@{domain}:{port}/?router={router}");
        Ok(BusText::from(url.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogTo, Settings, Surroundings, Transport};

    /// In the form of the file that OpenSRF ships.
    const SHIPPED: &str = r#"<?xml version="1.0"?>
<!-- OpenSRF bootstrap configuration -->
<config>
  <opensrf>
    <routers><router><name>router</name><domain>private.localhost</domain></router></routers>
    <domain>private.localhost</domain><username>opensrf</username><passwd>other</passwd>
    <port>6379</port><router_name>router</router_name>
    <logfile>/openils/var/log/osrfsys.log</logfile><loglevel>3</loglevel>
  </opensrf>
  <!-- <gateway><domain>commented.out</domain></gateway> -->
  <gateway>
    <client>true</client>
    <router_name> router </router_name>
    <domain>public.localhost</domain>
    <services><service>opensrf.math</service><domain>not.this.one</domain></services>
    <username>gateway</username>
    <!-- <passwd>old</passwd> -->
    <passwd>p&amp;ss/w@rd&#x3a;<![CDATA[<1>]]></passwd>
    <port>6379</port>
    <loglevel>4</loglevel>
    <logfile>syslog</logfile><syslog>local2</syslog><actlog>local3</actlog>
    <logtag>site-1</logtag><loglength>2000</loglength>
    <msg_size_warn>1800000</msg_size_warn>
    <something_else attribute="x"/>
  </gateway>
  <shared>
    <log_protect>
      <match_string>open-ils.auth.authenticate</match_string>
      <match_string>open-ils.cat.user.</match_string>
    </log_protect>
  </shared>
</config>"#;

    fn settings(text: &str) -> Settings {
        let options = options(text, "gateway", TheirBus::Used(None)).expect("options");
        Settings::resolve(options, &Surroundings::default()).expect("settings")
    }

    #[test]
    fn the_shipped_file_is_read_as_it_is() {
        let settings = settings(SHIPPED);
        assert_eq!(
            settings.bus.to_string(),
            "redis://gateway:***@public.localhost:6379/?router=router"
        );
        let Transport::Redis(bus) = settings.bus.transport() else { panic!("not Redis") };
        assert_eq!(bus.password.as_ref().map(|secret| secret.reveal()), Some("p&ss/w@rd:<1>"));
        assert_eq!((bus.username.as_str(), bus.domain.as_str()), ("gateway", "public.localhost"));
        let log = &settings.log;
        assert_eq!(
            (log.to.clone(), log.format),
            (LogTo::Syslog("/dev/log".into()), LogFormat::Opensrf)
        );
        assert_eq!((log.level.to_string().as_str(), log.facility.number()), ("debug", 18));
        assert_eq!(log.tag.as_ref().map(|tag| tag.as_str()), Some("site-1"));
        assert_eq!((log.max_length, log.message_size), (2_000, Some(1_800_000)));
        assert!(log.activity);
        assert_eq!(log.activity_facility.number(), 19);
        assert_eq!(log.protect, ["open-ils.auth.authenticate", "open-ils.cat.user."]);
    }

    #[test]
    fn the_port_tells_which_bus_it_is_unless_somebody_does() {
        let bus = |port: &str, transport| {
            let text = SHIPPED.replace("<port>6379</port>", &format!("<port>{port}</port>"));
            let options = options(&text, "gateway", TheirBus::Used(transport)).expect("options");
            let settings = Settings::resolve(options, &Surroundings::default()).expect("settings");
            settings.bus.to_string()
        };
        let behind = |port| format!("://gateway:***@public.localhost:{port}/?router=router");
        for (port, transport, scheme) in [
            ("6379", None, "redis"),
            ("5222", None, "xmpp"),
            ("7000", None, "opensrf"),
            ("7000", Some(TransportName::Xmpp), "xmpp"),
            ("5222", Some(TransportName::Redis), "redis"),
        ] {
            assert_eq!(bus(port, transport), format!("{scheme}{}", behind(port)));
        }
    }

    #[test]
    fn another_section_can_be_named() {
        let options = options(SHIPPED, "opensrf", TheirBus::Used(None)).expect("options");
        assert_eq!(options.log_to, Some(LogTo::File("/openils/var/log/osrfsys.log".into())));
        assert!(format!("{:?}", options.bus).contains("opensrf:***@private.localhost:6379"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_element() {
        for (from, to, expected) in [
            ("<domain>public.localhost</domain>", "", "<gateway><domain>: is missing"),
            ("<username>gateway</username>", "<username/>", "<gateway><username>: is missing"),
            ("<passwd>p&", "<password>p&", "line 18: "),
            ("<port>6379</port>\n    <loglevel>4", "<loglevel>4", "<gateway><port>: is missing"),
            (
                "<port>6379</port>\n    <loglevel>4",
                "<port>x</port><loglevel>4",
                "<gateway><port>: expected a port from 1 to 65535",
            ),
            (
                "<router_name> router ",
                "<router_name>a b",
                "<gateway><router_name>: expected letters",
            ),
            ("<loglevel>4", "<loglevel>9", "<gateway><loglevel>: expected a number from 0 to 5"),
            (
                "<logfile>syslog",
                "<logfile>sylog",
                "<gateway><logfile>: expected stderr, stdout, syslog, or the path",
            ),
            (
                "<syslog>local2",
                "<syslog>local9",
                "<gateway><syslog>: expected user or daemon or local0",
            ),
            ("&amp;", "&unknown;", "<gateway><passwd>: an entity in it is not defined"),
            ("<gateway>\n", "<gate>\n", "line 25: "),
        ] {
            assert!(SHIPPED.contains(from), "{from}");
            let error =
                options(&SHIPPED.replace(from, to), "gateway", TheirBus::Used(None)).unwrap_err();
            assert!(error.starts_with(expected), "{to}: {error}");
            assert!(!error.contains("w@rd") && error.lines().count() == 1, "{error}");
        }
        let error =
            options("<config><opensrf/></config>", "gateway", TheirBus::Used(None)).unwrap_err();
        assert_eq!(error, "there is no section <gateway>");
    }

    #[test]
    fn a_bus_of_our_own_needs_nothing_of_theirs() {
        let options =
            options("<config><gateway/></config>", "gateway", TheirBus::Unused).expect("options");
        assert!(options.bus.is_none());
        assert_eq!(options.activity_log, Some(true));
    }
}
