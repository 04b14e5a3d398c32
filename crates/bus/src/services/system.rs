//! The methods that every service has.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Failure, Method, Params, Results, Service};
use slackwater_core::osrf::quote::quote;

const METHOD: &str = "opensrf.system.method";
const METHOD_ALL: &str = "opensrf.system.method.all";
const ECHO: &str = "opensrf.system.echo";
const TIME: &str = "opensrf.system.time";

static METHODS: [Method; 4] = [
    Method {
        name: METHOD,
        symbol: "",
        notes: "Lists the methods whose names begin so. Params: beginning of a name",
        argc: 1,
        streams: true,
    },
    Method {
        name: METHOD_ALL,
        symbol: "",
        notes: "Lists all methods. No params",
        argc: 0,
        streams: true,
    },
    Method {
        name: ECHO,
        symbol: "",
        notes: "Gives each of its params back. Params: anything",
        argc: 0,
        streams: true,
    },
    Method {
        name: TIME,
        symbol: "",
        notes: "Seconds since 1970, as a string. No params",
        argc: 0,
        streams: false,
    },
];

/// The system methods that this service has.
pub(super) fn methods(service: &dyn Service) -> impl Iterator<Item = &'static Method> {
    let tells_time = service.tells_time();
    METHODS.iter().filter(move |method| tells_time || method.name != TIME)
}

/// Runs one of [`methods`].
pub(super) async fn call(
    service: &dyn Service,
    method: &str,
    params: Params<'_>,
    results: Results,
) -> Result<(), Failure> {
    match method {
        METHOD => {
            let beginning = params.scalar(0).ok_or_else(Failure::unknown)?;
            list(service, &beginning, &results).await
        }
        METHOD_ALL => list(service, "", &results).await,
        TIME => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            results.put(format!("\"{}\"", now.as_secs())).await
        }
        _echo => {
            for param in params.iter() {
                results.put(param).await?;
            }
            Ok(())
        }
    }
}

/// Lists a service's own methods first; one that streams is followed by its `.atomic` form.
async fn list(service: &dyn Service, beginning: &str, results: &Results) -> Result<(), Failure> {
    let own = service.methods().iter().map(|method| (method, false));
    let system = methods(service).map(|method| (method, true));
    for (method, system) in own.chain(system) {
        for (suffix, atomic) in [("", false), (".atomic", true)] {
            let name = format!("{}{suffix}", method.name);
            if (method.streams || !atomic) && name.starts_with(beginning) {
                results.put(description(service, method, &name, system, atomic)).await?;
            }
        }
    }
    Ok(())
}

fn description(
    service: &dyn Service,
    method: &Method,
    name: &str,
    system: bool,
    atomic: bool,
) -> String {
    let symbol = if system { "null".to_owned() } else { quote(method.symbol) };
    format!(
        r#"{{"api_name":{},"method":{symbol},"service":{},"notes":{},"argc":{},"sysmethod":{},"atomic":{},"cachable":0}}"#,
        quote(name),
        quote(service.name()),
        quote(method.notes),
        method.argc,
        u8::from(system),
        u8::from(atomic),
    )
}
