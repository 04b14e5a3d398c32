//! What an operator may write, and what he is told when it is wrong.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory;
use slackwater::cli::{Cli, Command, parse};
use slackwater::config::{
    Behind, BusTls, ClientHeader, CloseFin, Facility, Framing, LogFormat, LogTo, Refuse,
    ServeOptions, Settings, Surroundings, Track, read_file,
};
use slackwater::front::Access;
use slackwater_lab::certificate::Certificate;

#[test]
fn the_defaults_are_those_of_the_help() {
    let help = serve_definition();
    let mut compared = 0;
    for argument in help.get_arguments() {
        let text = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, default)) = text.split_once("[default: ") else { continue };
        let default = default.trim_end_matches(']');
        // These are said in words.
        let words = ["off", "any", "none"];
        if words.contains(&default)
            || matches!(
                argument.get_id().as_str(),
                "control"
                    | "framing"
                    | "max_connections"
                    | "max_programs"
                    | "opensrf_section"
                    | "state_dir"
            )
        {
            continue;
        }
        let flag = format!("--{}={default}", argument.get_long().unwrap());
        assert_eq!(settings(&[&flag]), settings(&[]), "{flag}");
        compared += 1;
    }
    assert_eq!(compared, 43, "options whose default is a value");
}

/// The sample is the reference of all settings: each of its keys exists, every key is in it, and
/// what it says is the default.
#[test]
fn the_sample_file_names_every_setting_with_its_default() {
    let sample = include_str!("../../../docs/slackwater.toml");
    let examples = [
        "bus_password_file",
        "opensrf_config",
        "opensrf_section",
        "message_size_warning",
        "log_tag",
        "log_protect",
        "state_dir",
        "control",
        "admin_listen",
        "agent_listen",
        "path",
        "listen_mode",
        "listen_owner",
        "redirect_listen",
        "max_connections_per_address",
        "max_handshakes_per_address",
        "health_path",
        "origin",
        "trusted_proxy",
        "tls_certificate",
        "tls_key",
        "tls_client_authority",
        "max_connections",
        "max_programs",
    ];
    let (mut keys, mut defaults) = (Vec::new(), String::new());
    for line in sample.lines().filter_map(|line| line.strip_prefix('#')) {
        let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with([' ', '#']))
        else {
            continue;
        };
        keys.push(key.to_owned());
        let text = format!("{line}\n");
        let read = in_file(&text).unwrap_or_else(|error| panic!("{key}: {error}"));
        // Those of TLS mean nothing alone, and name files that are not there.
        if !key.starts_with("tls_") {
            Settings::resolve(read, &surroundings()).unwrap();
        }
        if !examples.contains(&key) {
            defaults.push_str(&text);
        }
    }
    let sampled = Settings::resolve(in_file(&defaults).unwrap(), &surroundings());
    assert_eq!(sampled.unwrap(), settings(&[]));

    let options = serve_definition();
    let mut every: Vec<String> = options
        .get_arguments()
        .map(|argument| argument.get_id().to_string())
        .filter(|id| !["config", "help", "version"].contains(&id.as_str()))
        .collect();
    every.sort();
    keys.sort();
    assert_eq!(keys, every);
}

/// The page of all settings is made from their definitions. `UPDATE_DOCS=1` writes it.
#[test]
fn the_page_of_all_settings_says_what_the_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let mut page = String::from(
        "# Every setting\n\n\
         A key of the file that `--config` names; with `-` for `_` and `--` before it a flag; in capitals behind\n\
         `SLACKWATER_` an environment variable. A flag wins over a variable, that over the file, that\n\
         over `opensrf_core.xml`. TIME: `200ms`, `2m`, `1h30m`; a bare number is seconds. SIZE:\n\
         `16KiB`, `10MiB`; a bare number is bytes. A sample: [slackwater.toml](slackwater.toml). This\n\
         page is made from the program's own definitions.\n",
    );
    let mut heading = None;
    for argument in serve_definition().get_arguments() {
        let key = argument.get_id().as_str();
        if ["config", "help"].contains(&key) {
            continue;
        }
        let of_this = argument.get_help_heading().unwrap_or("General");
        if heading.as_deref() != Some(of_this) {
            page += &format!("\n## {of_this}\n\n| key | value | default | |\n|---|---|---|---|\n");
            heading = Some(of_this.to_owned());
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let (words, default) = help.split_once(" [default: ").unwrap_or((&help, ""));
        let value = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
        let (default, value) = (default.trim_end_matches(']'), value.replace('|', " or "));
        page += &format!("| `{key}` | {value} | {default} | {words} |\n");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "UPDATE_DOCS=1 cargo test -p slackwater --test config");
}

#[test]
fn the_defaults_that_are_said_in_words_are_so() {
    let settings = settings(&[]);
    assert_eq!(settings.control, None);
    assert_eq!(settings.admin_listen, None);
    assert_eq!(settings.front.path, None);
    assert_eq!(settings.front.origins, []);
    assert_eq!(settings.front.trusted_proxies, []);
    assert_eq!(settings.limits.connections, 1_000 - 64);
}

#[test]
fn flag_key_and_variable_have_one_name() {
    for argument in serve_definition().get_arguments() {
        let id = argument.get_id().as_str();
        if id == "help" {
            continue;
        }
        assert_eq!(argument.get_long(), Some(id.replace('_', "-").as_str()));
        let variable = format!("SLACKWATER_{}", id.to_uppercase());
        assert_eq!(argument.get_env(), Some(OsString::from(variable).as_os_str()));
        assert!(argument.is_hide_env_set(), "{id}: --help would show what the variable holds");
        let wrong = in_file(&format!("{id} = {{}}\n")).unwrap_err();
        let unknown = wrong.contains("no such key");
        assert_eq!(unknown, id == "config", "{id}: {wrong}");
    }
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = File::new("deadline = \"1m\"\nebb_window = 7\nlisten = [\"127.0.0.1:1\"]\n");
    let settings = settings(&["--config", file.path(), "--deadline", "3s"]);
    assert_eq!(settings.drain.deadline, Some(Duration::from_secs(3)));
    assert_eq!(settings.drain.ebb_window, Duration::from_secs(7));
    assert_eq!(settings.listen, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(settings.drain.quiet_window, Duration::from_millis(200));
}

#[test]
fn a_file_of_ours_wins_over_one_of_opensrf() {
    let theirs = File::new(
        "<config><gateway><domain>d</domain><username>u</username><passwd>secret</passwd>\
         <port>6379</port><router_name>r</router_name><loglevel>4</loglevel>\
         <logfile>/theirs</logfile></gateway></config>",
    );
    let ours = File::new(&format!("opensrf_config = {:?}\nlog_level = \"warn\"\n", theirs.path()));
    let set = settings(&["--config", ours.path(), "--activity-log=false"]);
    assert_eq!(set.bus.to_string(), "redis://u:***@d:6379/?router=r");
    assert_eq!(set.log.level.to_string(), "warn");
    assert_eq!(set.log.to, LogTo::File("/theirs".into()));
    assert_eq!((set.log.format, set.log.activity), (LogFormat::Opensrf, false));
    let set = settings(&["--config", ours.path(), "--bus", "embedded:"]);
    assert_eq!(set.bus.to_string(), "embedded:");
    let wrong = options(&["--opensrf-config", theirs.path(), "--opensrf-section", "x"]).unwrap();
    let error = Settings::load(wrong, &surroundings()).unwrap_err().to_string();
    assert_eq!(error, format!("{}: there is no section <x>", theirs.path()));
}

/// Every key, none with its default.
const EVERY: &str = r#"
listen = ["127.0.0.1:1", "unix:/run/s.sock"]
listen_mode = "0660"
listen_owner = "root:www-data"
redirect_listen = "127.0.0.1:80"
bus = "embedded:?keepalive=1s"
control = "/run/control.sock"
admin_listen = "127.0.0.1:2"
agent_listen = "127.0.0.1:3"
ingress = "test"
deadline = "0s"
bus_password_file = "/run/password"
bus_tls = "required"
bus_streams = 2
state_dir = "/var/lib/x"
announce = "1s"
ebb_window = "2s"
quiet_window = "3s"
refuse = 503
drain_status = 404
close_code = 1001
close_fin = "with-close"
close_timeout = "4s"
path = "/x"
health_path = "/health"
origin = "https://example.org"
same_origin = true
trusted_proxy = ["10.0.0.0/8", "::1"]
client_header = "forwarded"
proxy_protocol = true
ping_interval = "0s"
idle_timeout = "5s"
handshake_timeout = "6s"
compress_from = "9KiB"
max_connections = 7
max_message_size = "8KiB"
max_stanza_size = "64KiB"
max_depth = 9
max_requests_in_flight = 10
max_sessions = 11
max_queued_bytes = 12
max_total_queued_bytes = 14
max_connections_per_address = 15
max_handshakes_per_address = 16
write_stall_timeout = "13s"
message_size_warning = "1MiB"
log_level = "debug"
log_to = "syslog"
log_format = "json"
log_tag = "site"
log_facility = "daemon"
activity_log = true
activity_facility = "local7"
log_protect = ["a.", "b."]
max_log_length = 99
opensrf_config = "OPENSRF"
opensrf_section = "other"
transport = "xmpp"
"#;

/// And those of programs.
const OF_PROGRAMS: &str = r#"
track = "jsonrpc"
track_idle = "14s"
relay_usr1 = true
framing = "length"
binary = true
pass_stderr = true
pass_env = ["HOME"]
kill_grace = "15s"
max_programs = 16
"#;

/// A setting of which nobody has decided whether it can change while the gateway runs does not pass.
#[test]
fn each_key_that_changed_is_named_alone_as_live_or_for_the_next_start() {
    let before = settings(&[]);
    assert_eq!(before.adopt(before.clone()).settings, before);
    let (mut live, mut fixed) = (0, 0);
    let lines = EVERY.lines().chain(OF_PROGRAMS.lines());
    for line in lines.filter(|line| !line.is_empty()) {
        let (key, _) = line.split_once(" = ").unwrap();
        let (needed, line) = match key {
            // They mean nothing alone.
            "opensrf_config" | "opensrf_section" | "transport" => continue,
            "proxy_protocol" => (vec!["trusted_proxy"], format!("{line}\ntrusted_proxy = '::1'")),
            // Syslog has a format of its own.
            "log_to" => (vec![], format!("{line}\nlog_format = 'text'")),
            // It would change the framing, too.
            "binary" => (vec![], format!("{line}\nframing = 'lines'")),
            _ => (vec![], line.to_owned()),
        };
        let read = Settings::resolve(in_file(&line).unwrap(), &surroundings()).unwrap();
        let adopted = before.adopt(read.clone());
        let named = [needed, vec![key]].concat();
        if adopted.at_next_start.is_empty() {
            assert_eq!((adopted.changed, &adopted.settings), (named, &read), "{key}");
            live += 1;
        } else {
            let stays = (vec![key], vec![], &before);
            assert_eq!((adopted.at_next_start, adopted.changed, &adopted.settings), stays);
            fixed += 1;
        }
    }
    assert_eq!((live, fixed), (31, 32));
}

#[test]
fn every_option_can_be_set_in_the_file() {
    let file = File::new(EVERY);
    let theirs = File::new("<config><other/></config>");
    let text = std::fs::read_to_string(file.path()).unwrap();
    std::fs::write(file.path(), text.replace("OPENSRF", theirs.path())).unwrap();
    let set = settings(&["--config", file.path()]);
    let seconds = Duration::from_secs;
    assert_eq!(set.listen.len(), 2);
    let access = Access {
        mode: Some("0660".parse().unwrap()),
        owner: Some("root:www-data".parse().unwrap()),
    };
    assert_eq!(set.listen_access, access);
    assert_eq!(set.redirect_listen, Some("127.0.0.1:80".parse().unwrap()));
    assert_eq!(set.bus.to_string(), "embedded:?keepalive=1s");
    assert_eq!(set.bus_password_file, Some(PathBuf::from("/run/password")));
    assert_eq!((set.bus_tls, set.bus_streams), (BusTls::Required, 2));
    assert_eq!(set.state_directory, PathBuf::from("/var/lib/x"));
    assert_eq!(set.control, Some(PathBuf::from("/run/control.sock")));
    assert_eq!(set.admin_listen, Some("127.0.0.1:2".parse().unwrap()));
    assert_eq!(set.agent_listen, Some("127.0.0.1:3".parse().unwrap()));
    assert_eq!(set.ingress.as_str(), "test");
    assert_eq!(set.drain.deadline, None);
    assert_eq!(set.drain.announce, seconds(1));
    assert_eq!(set.drain.ebb_window, seconds(2));
    assert_eq!(set.drain.quiet_window, seconds(3));
    assert_eq!(set.drain.refuse, Refuse::Answer503);
    assert_eq!(set.drain.status.get().as_u16(), 404);
    assert_eq!(set.close.code.get(), 1001);
    assert_eq!(set.close.fin, CloseFin::WithClose);
    assert_eq!(set.close.timeout, seconds(4));
    assert_eq!(set.front.path.as_ref().map(|path| path.as_str()), Some("/x"));
    assert_eq!(set.front.health_path.as_ref().map(|path| path.as_str()), Some("/health"));
    assert_eq!(set.front.origins, ["https://example.org".parse().unwrap()]);
    assert!(set.front.same_origin);
    assert_eq!(set.front.trusted_proxies.len(), 2);
    assert_eq!(set.front.client_header, ClientHeader::Forwarded);
    assert!(set.front.proxy_protocol);
    assert_eq!(set.front.ping_interval, None);
    assert_eq!(set.front.idle_timeout, Some(seconds(5)));
    assert_eq!(set.front.handshake_timeout, seconds(6));
    assert_eq!(set.front.compress_from, Some(9 << 10));
    assert_eq!(set.limits.connections, 7);
    assert_eq!(set.limits.message_size, 8 * 1024);
    assert_eq!(set.limits.stanza_size, 64 * 1024);
    assert_eq!(set.limits.depth, 9);
    assert_eq!(set.limits.requests_in_flight, 10);
    assert_eq!(set.limits.sessions, 11);
    assert_eq!(set.limits.queued_bytes, 12);
    assert_eq!(set.limits.total_queued_bytes, 14);
    assert_eq!(set.limits.connections_per_address, Some(15));
    assert_eq!(set.limits.handshakes_per_address, Some(16));
    assert_eq!(set.limits.write_stall_timeout, seconds(13));
    assert_eq!(set.log.level.to_string(), "debug");
    assert_eq!(set.log.format, LogFormat::Json);
    assert_eq!(set.log.to, LogTo::Syslog("/dev/log".into()));
    assert_eq!(set.log.tag.as_ref().map(|tag| tag.as_str()), Some("site"));
    assert_eq!(set.log.facility, Facility::Daemon);
    assert!(set.log.activity);
    assert_eq!(set.log.activity_facility, Facility::Local7);
    assert_eq!(set.log.protect, ["a.", "b."]);
    assert_eq!((set.log.max_length, set.log.message_size), (99, Some(1 << 20)));
    let programs = in_file(&OF_PROGRAMS.replace("binary = true\npass_stderr", "pass_stderr"));
    let programs = ServeOptions { track: None, ..programs.unwrap() };
    let programs = Settings::resolve(programs, &surroundings()).unwrap().program;
    assert_eq!((programs.track_idle, programs.kill_grace), (seconds(14), seconds(15)));
    assert_eq!((programs.relay_usr1, programs.pass_stderr), (true, true));
    assert_eq!((programs.framing, programs.max_programs), (Framing::Length, Some(16)));
    assert_eq!(programs.pass_env, ["HOME"]);
    let tracked = ServeOptions { pass_stderr: None, ..in_file("track = 'jsonrpc'").unwrap() };
    let tracked = Settings::resolve(tracked, &surroundings()).unwrap().program;
    assert_eq!((tracked.track, tracked.binary), (Track::JsonRpc, false));
    let definition = serve_definition();
    let in_no_file = |option: &&clap::Arg| !["config", "help"].contains(&option.get_id().as_str());
    let keys = definition.get_arguments().filter(in_no_file).count();
    assert_eq!(keys, 69, "an option was added: set it in this test's file");
}

#[test]
fn tls_is_read_with_its_files_and_a_new_certificate_is_taken_on() {
    let made = || Certificate::of(&["localhost"]).unwrap();
    let (first, second, other) = (made(), made(), made());
    let (certificate, key) = (File::new(&first.certificate), File::new(&first.key));
    let authority = File::new(&other.certificate);
    let text = format!(
        "tls_certificate = '{}'\ntls_key = '{}'\ntls_client_authority = '{}'\n",
        certificate.path(),
        key.path(),
        authority.path()
    );
    let load = || {
        let options = in_file(&text).unwrap();
        Settings::resolve(options, &surroundings()).map_err(|error| error.to_string())
    };
    let before = load().unwrap();
    let tls = before.front.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, PathBuf::from(certificate.path()));
    assert_eq!(before.adopt(load().unwrap()).changed, [""; 0]);
    // A certificate without its key is none.
    std::fs::write(certificate.path(), &second.certificate).unwrap();
    let wrong = load().unwrap_err();
    assert!(wrong.starts_with(&format!("tls_certificate: {}: ", certificate.path())), "{wrong}");
    std::fs::write(key.path(), &second.key).unwrap();
    assert_eq!(before.adopt(load().unwrap()).changed, ["tls_certificate"]);
    std::fs::write(authority.path(), "nothing").unwrap();
    let wrong = load().unwrap_err();
    assert!(wrong.contains(authority.path()) && wrong.contains("no certificate"), "{wrong}");
    for (alone, needs) in [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")] {
        let options = in_file(&format!("{alone} = '/x'")).unwrap();
        let wrong = Settings::resolve(options, &surroundings()).unwrap_err().to_string();
        assert_eq!(wrong, format!("{alone}: expected {needs}, too"));
    }
}

#[test]
fn what_only_a_bus_or_only_programs_have_is_refused_where_the_other_stands() {
    let load = |command: &[&str]| {
        let words = ["slackwater"].iter().chain(command).map(OsString::from);
        let options = match parse(words, &[]).unwrap() {
            Command::Serve(options) => *options,
            Command::Run(run) => (*run).into(),
            other @ (Command::Websocketd(_) | Command::OsrfStdio(_) | Command::Client(_)) => {
                panic!("{other:?}")
            }
        };
        Settings::load(options, &surroundings()).map_err(|error| error.to_string())
    };
    let told = load(&["run", "--bus", "embedded:", "--", "cat"]).unwrap_err();
    assert_eq!(told, "bus: not for `slackwater run`: a program stands in the bus's place");
    let told = load(&["serve", "--track", "lines"]).unwrap_err();
    assert_eq!(told, "track: only for `slackwater run`: no program is run here");
    let run = load(&["run", "--track", "lines", "--", "cat", "-u", "--track"]).unwrap();
    let program = Behind::Program("cat".into(), vec!["-u".into(), "--track".into()]);
    assert_eq!(run.behind, program);
    for (flags, told) in [
        (&["--binary", "--framing", "json"][..], "framing: "),
        (&["--binary", "--track", "lines"], "track: "),
        (&["--pass-stderr", "--track", "osrf"], "track: "),
        (&["--binary", "--pass-stderr"], "pass_stderr: "),
    ] {
        let error = load(&[&["run"], flags, &["--", "cat"]].concat()).unwrap_err();
        assert!(error.starts_with(told), "{flags:?}: {error}");
    }
}

#[test]
fn a_wrong_file_is_told_with_line_key_and_what_was_expected() {
    for (text, expected) in [
        ("\nlisen = \"x\"\n", "2: lisen: no such key; did you mean listen?"),
        ("[drain]\n", "1: drain: no such key; `slackwater serve --help` names them, with - for _"),
        (
            "config = \"x\"",
            "1: config: no such key; `slackwater serve --help` names them, with - for _",
        ),
        ("deadline = \"5x\"", "1: deadline: expected a duration such as 200ms, 30s or 1h30m"),
        ("deadline = -5", "1: deadline: expected a duration such as 200ms, 30s or 1h30m"),
        (
            "deadline = 1.5",
            "1: deadline: invalid type: floating point `1.5`, expected a string or a whole number",
        ),
        ("\n\nclose_timeout = 0", "3: close_timeout: expected a duration above 0s"),
        ("max_depth = 0", "1: max_depth: expected a whole number from 1 to 1000000000"),
        (
            "max_message_size = \"10MB\"",
            "1: max_message_size: expected a size such as 16KiB or 10MiB",
        ),
        (
            "close_code = 1005",
            "1: close_code: expected a close code: 1000, 1001, 1008, 1011-1014 or 3000-4999",
        ),
        ("drain_status = 200", "1: drain_status: expected an HTTP status from 400 to 599"),
        ("refuse = 502", "1: refuse: expected close or 503"),
        ("client_header = \"via\"", "1: client_header: expected x-forwarded-for or forwarded"),
        (
            "same_origin = \"yes\"",
            "1: same_origin: invalid type: string \"yes\", expected a boolean",
        ),
        (
            "listen = [\n  \"127.0.0.1:1\",\n  \"localhost\",\n]",
            "3: listen: expected ADDRESS:PORT such as 127.0.0.1:7682 or [::1]:7682, or unix:/path",
        ),
        ("deadline = 1\ndeadline = 2", "2: duplicate key"),
        ("deadline = 1\nlisten = x", "2: string values must be quoted, expected literal string"),
        (
            "bus = \"xmpp://u:secret@h?x\"",
            "1: bus: expected router=NAME or host=HOST behind the ?, with xmpps: ca=FILE \
             (given: xmpp://u:***@h?x)",
        ),
    ] {
        let error = in_file(text).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let error = read_file(Path::new("/nowhere/slackwater.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/slackwater.toml: cannot be read: No such file"), "{error}");
    let binary = File::new("");
    std::fs::write(binary.path(), [0xff, 0xfe]).unwrap();
    let error = read_file(Path::new(binary.path())).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    let long = File::new(&"#".repeat((1 << 20) + 1));
    let error = read_file(Path::new(long.path())).unwrap_err().to_string();
    assert!(error.ends_with("longer than 1 MiB: is it the right file?"), "{error}");
}

#[test]
fn a_wrong_flag_is_told_with_what_was_expected() {
    for (flags, expected) in [
        (vec!["--deadline", "5x"], "expected a duration such as 200ms, 30s or 1h30m"),
        (vec!["--listen", "7682"], "expected ADDRESS:PORT such as 127.0.0.1:7682"),
        (vec!["--trusted-proxy", "10.0.0.0/99"], "expected a network such as 10.0.0.0/8"),
        (vec!["--log-level", "inof"], "expected a level (error, warn, info, debug, trace)"),
        (vec!["--refuse", "no"], "possible values: close, 503"),
        (vec!["--dedline", "5s"], "a similar argument exists: '--deadline'"),
    ] {
        let error = options(&flags).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{flags:?}: {error}");
    }
}

#[test]
fn what_no_option_can_check_alone_is_checked() {
    for (flags, expected) in [
        (
            vec!["--announce=5s", "--deadline=5s"],
            "announce: expected less than the deadline, within which it counts",
        ),
        (
            vec!["--proxy-protocol"],
            "proxy_protocol: expected trusted_proxy, too: from others it is not taken",
        ),
        (
            vec!["--announce=120s"],
            "announce: expected less than the deadline, within which it counts",
        ),
        (
            vec!["--bus=xmpp://u:secret@h?x"],
            "bus: expected router=NAME or host=HOST behind the ?, with xmpps: ca=FILE \
             (given: xmpp://u:***@h?x)",
        ),
        (vec!["--transport=xmpp"], "transport: expected an opensrf_config whose bus it is"),
    ] {
        let settings = Settings::load(options(&flags).unwrap(), &surroundings());
        assert_eq!(settings.unwrap_err().to_string(), expected);
    }
    assert_eq!(settings(&["--announce=500s", "--deadline=0"]).drain.deadline, None);
    let file = File::new("listen = []\n");
    let empty = Settings::load(options(&["--config", file.path()]).unwrap(), &surroundings());
    assert_eq!(empty.unwrap_err().to_string(), "listen: expected at least one address");
    let section = Settings::load(options(&["--opensrf-section=x"]).unwrap(), &surroundings());
    let expected = "opensrf_section: expected an opensrf_config whose section it is";
    assert_eq!(section.unwrap_err().to_string(), expected);
}

#[test]
fn lists_add_up_within_one_place_and_are_replaced_by_a_higher_one() {
    let file = File::new("origin = [\"a\", \"b\"]\n");
    let origins = |flags: &[&str]| {
        let set = settings(&[&["--config", file.path()], flags].concat());
        set.front.origins.iter().map(|origin| origin.rule().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(origins(&[]), ["a", "b"]);
    assert_eq!(origins(&["--origin", "c", "--origin", "d,e"]), ["c", "d", "e"]);
}

#[test]
fn a_switch_can_be_turned_off_again() {
    let file = File::new("same_origin = true\n");
    assert!(settings(&["--config", file.path()]).front.same_origin);
    assert!(settings(&["--same-origin"]).front.same_origin);
    assert!(!settings(&["--config", file.path(), "--same-origin=false"]).front.same_origin);
}

#[test]
fn without_a_command_it_is_serve() {
    let words = |words: &[&str]| parse(words.iter().map(Into::into), &[]);
    for typed in [&["slackwater"][..], &["slackwater", "--deadline", "5"], &["slackwater", "serve"]]
    {
        assert!(matches!(words(typed), Ok(Command::Serve(_))), "{typed:?}");
    }
    for typed in [["slackwater", "status"], ["slackwater", "drain"], ["slackwater", "check"]] {
        assert!(matches!(words(&typed), Ok(Command::Client(_))), "{typed:?}");
    }
    for (typed, code) in [("--help", 0), ("-h", 0), ("--version", 0), ("help", 0), ("serv", 2)] {
        assert_eq!(words(&["slackwater", typed]).unwrap_err().exit_code(), code, "{typed}");
    }
}

#[test]
fn a_misspelt_variable_is_not_passed_over() {
    let error = parse(["slackwater".into()], &["SLACKWATER_DEADLNE".to_owned()]).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code(), 2);
    assert!(text.contains("did you mean SLACKWATER_DEADLINE?"), "{text}");
    let known =
        ["SLACKWATER_URL", "SLACKWATER_CONFIG", "SLACKWATER_PORT_80_TCP"].map(str::to_owned);
    assert!(parse(["slackwater".into()], &known).is_ok());
}

#[test]
fn the_help_is_short() {
    for (words, most) in [
        (&["slackwater", "--help"][..], 26),
        (&["slackwater", "serve", "--help"], 130),
        (&["slackwater", "drain", "--help"], 22),
    ] {
        let help = parse(words.iter().map(OsString::from), &[]).unwrap_err().to_string();
        assert!(help.lines().count() <= most, "{help}");
    }
}

/// A file that is gone at the end of the test.
struct File(tempfile::NamedTempFile);

impl File {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// What is said of a file with this text, without the file's own name.
fn in_file(text: &str) -> Result<ServeOptions, String> {
    let file = File::new(text);
    read_file(Path::new(file.path())).map_err(|error| {
        let error = error.to_string();
        let prefix = format!("{}:", file.path());
        error.strip_prefix(&prefix).unwrap_or(&error).to_owned()
    })
}

fn options(flags: &[&str]) -> Result<ServeOptions, clap::Error> {
    let words = ["slackwater", "serve"].iter().chain(flags).map(OsString::from);
    match parse(words, &[])? {
        Command::Serve(options) => Ok(*options),
        other @ (Command::Run(_)
        | Command::Websocketd(_)
        | Command::OsrfStdio(_)
        | Command::Client(_)) => {
            panic!("{other:?}")
        }
    }
}

/// What flags of `serve` mean; those that only `run` takes are as good here.
fn settings(flags: &[&str]) -> Settings {
    let options = options(flags).unwrap();
    match options.config {
        Some(_) => Settings::load(options, &surroundings()).unwrap(),
        None => Settings::resolve(options, &surroundings()).unwrap(),
    }
}

fn surroundings() -> Surroundings {
    Surroundings { open_files: Some(1_000), ..Surroundings::default() }
}

fn serve_definition() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand("serve").unwrap().clone()
}
