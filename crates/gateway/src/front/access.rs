//! Who may connect through a unix socket: the mode and the owner of its file.

use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::str::FromStr;

use nix::unistd::{Group, User};

/// The mode and owner of a unix socket's file; what is `None` stays as the system makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Its permissions.
    pub mode: Option<FileMode>,
    /// Whose it is.
    pub owner: Option<Owner>,
}

/// Permissions in octal, `0` to `0777`. Whoever is to connect needs to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

/// `USER`, `USER:GROUP` or `:GROUP`, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    user: Option<String>,
    group: Option<String>,
}

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAccess {
    /// As a mode.
    #[error("expected permissions in octal, such as \"0660\"")]
    Mode,
    /// As an owner.
    #[error("expected USER, USER:GROUP or :GROUP")]
    Owner,
}

impl FromStr for FileMode {
    type Err = NoAccess;

    fn from_str(text: &str) -> Result<Self, NoAccess> {
        let octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
        mode.map(Self).ok_or(NoAccess::Mode)
    }
}

/// A string only: a bare number of TOML would be read as decimal, or its octal as another.
impl<'de> serde::Deserialize<'de> for FileMode {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Owner {
    type Err = NoAccess;

    fn from_str(text: &str) -> Result<Self, NoAccess> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        match (named(user), named(group)) {
            (None, None) => Err(NoAccess::Owner),
            (user, group) if group.as_ref().is_none_or(|group| !group.contains(':')) => {
                Ok(Self { user, group })
            }
            (_, _) => Err(NoAccess::Owner),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Access {
    /// Gives the file at `path` to whom it is to belong.
    ///
    /// # Errors
    /// There is no such user or group, or the system does not permit it.
    pub(super) fn apply(&self, path: &Path) -> io::Result<()> {
        if let Some(Owner { user, group }) = &self.owner {
            let user = user.as_deref().map(user_number).transpose()?;
            let group = group.as_deref().map(group_number).transpose()?;
            chown(path, user, group)?;
        }
        if let Some(FileMode(mode)) = self.mode {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

// A number first: where it needs none, a system may have no list of names.

fn user_number(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = User::from_name(name)?.map(|user| user.uid.as_raw());
    found.ok_or_else(|| nobody("user", name))
}

fn group_number(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = Group::from_name(name)?.map(|group| group.gid.as_raw());
    found.ok_or_else(|| nobody("group", name))
}

fn nobody(what: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} {name:?}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn modes_are_octal_and_owners_have_one_colon() {
        assert_eq!("0660".parse(), Ok(FileMode(0o660)));
        assert_eq!("7".parse(), Ok(FileMode(0o7)));
        for text in ["", "8", "0o660", "1777", "rw", "+7", "-1"] {
            assert_eq!(text.parse::<FileMode>(), Err(NoAccess::Mode), "{text}");
        }
        for (text, user, group) in
            [("a", Some("a"), None), ("a:b", Some("a"), Some("b")), (":b", None, Some("b"))]
        {
            let owner: Owner = text.parse().unwrap();
            assert_eq!((owner.user.as_deref(), owner.group.as_deref()), (user, group), "{text}");
        }
        for text in ["", ":", "a:b:c"] {
            assert_eq!(text.parse::<Owner>(), Err(NoAccess::Owner), "{text}");
        }
    }

    #[test]
    fn the_file_gets_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = file.path().metadata().unwrap();
        let owner = format!("{}:{}", own.uid(), own.gid()).parse().unwrap();
        let access = Access { mode: Some(FileMode(0o620)), owner: Some(owner) };
        access.apply(file.path()).unwrap();
        assert_eq!(file.path().metadata().unwrap().mode() & 0o777, 0o620);
        let stranger = Owner { user: Some("no-such-user".to_owned()), group: None };
        let access = Access { mode: None, owner: Some(stranger) };
        let error = access.apply(file.path()).unwrap_err();
        assert!(error.to_string().contains("no user \"no-such-user\""), "{error}");
    }
}
