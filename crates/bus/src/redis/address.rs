//! Names of lists, which are the addresses on a Redis bus: whoever pops a list owns its name.

use slackwater_core::osrf::envelope::Address;

use crate::names;

/// What the address of every process begins with.
const CLIENT: &str = "opensrf:client:";

/// The address of a process. `random` makes it one that nobody ever had or will have.
pub(super) fn client(user: &str, domain: &str, host: &str, pid: u32, random: u128) -> Address {
    format!("{CLIENT}{user}:{domain}:{host}:{pid}:{random:032x}")
}

/// The list that a router reads.
pub(super) fn router(name: &str, domain: &str) -> String {
    format!("opensrf:router:{name}:{domain}")
}

/// What a request says that it is for, whichever worker gets it.
pub(super) fn any_worker_of(service: &str) -> String {
    format!("opensrf:service:_:_:{service}")
}

/// Whether this is the address of a process: `opensrf:client:USER:DOMAIN:` and more.
pub(super) fn is_client(address: &str) -> bool {
    user_and_domain(address).is_some()
}

/// The domain in the address of a process, which is the name of the host whose Redis has its list.
pub(super) fn domain_of(address: &str) -> Option<&str> {
    user_and_domain(address).map(|(_, domain)| domain)
}

/// Who owns the address of a process, and in which domain.
pub(super) fn user_and_domain(address: &str) -> Option<(&str, &str)> {
    let mut parts = address.strip_prefix(CLIENT)?.splitn(3, ':');
    let (user, domain, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let sound = names::is_name(user)
        && names::is_name(domain)
        && !rest.is_empty()
        && address.len() <= 1_024;
    sound.then_some((user, domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_owner_domain_and_process() {
        let address = client("gateway", "public.localhost", "vm", 7, 0xa1);
        assert_eq!(
            address,
            "opensrf:client:gateway:public.localhost:vm:7:000000000000000000000000000000a1"
        );
        assert_eq!(domain_of(&address), Some("public.localhost"));
        assert!(is_client(&address));
    }

    #[test]
    fn what_is_not_the_address_of_a_process_has_no_domain() {
        for address in [
            "",
            "opensrf:client:",
            "opensrf:client:a:b",
            "opensrf:client:a:b:",
            "opensrf:client:a::vm:1:2",
            "opensrf:client:a:evil/host:vm:1:2",
            "opensrf:client:a:b\r\nDEL:vm:1:2",
            "opensrf:router:router:public.localhost",
            "opensrf:service:opensrf:private.localhost:opensrf.math",
        ] {
            assert_eq!(domain_of(address), None, "{address}");
        }
        assert_eq!(domain_of(&format!("opensrf:client:a:b:{}", "x".repeat(1_024))), None);
    }
}
