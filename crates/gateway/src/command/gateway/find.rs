//! Which gateway is meant: with one on the host, `slackwater drain` just works.

use std::path::{Path, PathBuf};

use super::Gateway;
use crate::cli::Target;
use crate::command::Failure;
use crate::config::{Surroundings, socket_name};
use crate::operate::control::{is_live, is_private};

impl Gateway {
    /// Finds the gateway by its control socket if the operator named that, else by where it
    /// listens, else the one at the default port, else the only one.
    pub(in crate::command) fn find(
        target: &Target,
        surroundings: &Surroundings,
    ) -> Result<Self, Failure> {
        if let Some(path) = &target.control {
            return Ok(Self::at(path.clone()));
        }
        let directories: Vec<_> = surroundings
            .control_directories()
            .filter(|directory| is_trusted(directory, surroundings))
            .collect();
        let name = socket_name(target.listen.as_deref().unwrap_or_default());
        let named = directories.iter().map(|directory| directory.join(&name));
        if let Some(path) = named.clone().find(|path| is_live(path).unwrap_or(false)) {
            return Ok(Self::at(path));
        }
        if target.listen.is_some() {
            let message = format!("no gateway listens there: none at {}", list(named));
            return Err(Failure::Unreachable(message));
        }
        let mut live = directories.iter().flat_map(|directory| live_sockets(directory));
        match (live.next(), live.next()) {
            (Some(path), None) => Ok(Self::at(path)),
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(live);
                Err(Failure::Usage(format!("which gateway? give --control one of {}", list(all))))
            }
            (None, _) => {
                let message = format!("no gateway runs here: looked into {}", list(directories));
                Err(Failure::Unreachable(message))
            }
        }
    }
}

/// Anyone can make the directory below /tmp, and lie to us from there.
fn is_trusted(directory: &Path, surroundings: &Surroundings) -> bool {
    directory != surroundings.own_directory()
        || is_private(directory, surroundings.user).unwrap_or(false)
}

fn live_sockets(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut sockets: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .filter(|path| is_live(path).unwrap_or(false))
        .collect();
    sockets.sort();
    sockets
}

fn list(paths: impl IntoIterator<Item = PathBuf>) -> String {
    let paths: Vec<_> = paths.into_iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_only_gateway_is_meant_and_of_several_the_one_at_the_default_port() {
        let place = Place::new();
        assert!(matches!(place.find(None), Err(Failure::Unreachable(_))));

        let first = place.gateway("9000.sock");
        drop(place.gateway("stale.sock"));
        assert_eq!(place.find(None), Ok(place.path("9000.sock")));

        let second = place.gateway("9001.sock");
        let error = place.find(None).unwrap_err();
        let (a, b) = (place.path("9000.sock"), place.path("9001.sock"));
        let both = format!("which gateway? give --control one of {}, {}", a.display(), b.display());
        assert_eq!(error, Failure::Usage(both));
        assert_eq!(place.find(Some("127.0.0.1:9001")), Ok(place.path("9001.sock")));
        assert!(matches!(place.find(Some("127.0.0.1:9002")), Err(Failure::Unreachable(_))));

        let default = place.gateway("7682.sock");
        assert_eq!(place.find(None), Ok(place.path("7682.sock")));
        drop((first, second, default));
    }

    /// A host without other gateways.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn gateway(&self, name: &str) -> UnixListener {
            UnixListener::bind(self.path(name)).unwrap()
        }

        fn find(&self, listen: Option<&str>) -> Result<PathBuf, Failure> {
            let surroundings = Surroundings {
                runtime_directory: Some(self.0.path().into()),
                // No user has this id, so that nothing below /tmp is looked at.
                user: u32::MAX,
                ..Surroundings::default()
            };
            let listen = listen.map(|text| vec![text.parse().unwrap()]);
            Gateway::find(&Target { control: None, listen }, &surroundings)
                .map(|gateway| gateway.path)
        }
    }
}
