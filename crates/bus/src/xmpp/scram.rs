//! SCRAM (RFC 5802, RFC 7677), the client's part, without channel binding: the password proves
//! itself without being sent, and so does the server that it knows it.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

/// A server that asks for more rounds would keep us from our work.
const MOST_ROUNDS: u32 = 200_000;

/// The hash that an exchange is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// One exchange.
pub(super) struct Scram {
    hash: Hash,
    password: String,
    first: String,
    nonce: String,
    /// What the server must say in the end.
    expected: Option<hmac::Tag>,
}

impl Hash {
    /// The strongest one among SASL mechanisms.
    pub(super) fn of(mechanisms: &[&str]) -> Option<Self> {
        let all = [Self::Sha512, Self::Sha256, Self::Sha1];
        all.into_iter().find(|hash| mechanisms.contains(&hash.mechanism()))
    }

    pub(super) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hash(self, data: &[u8]) -> digest::Digest {
        digest::digest(
            match self {
                Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
                Self::Sha256 => &digest::SHA256,
                Self::Sha512 => &digest::SHA512,
            },
            data,
        )
    }

    fn key(self, key: &[u8]) -> hmac::Key {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::Key::new(algorithm, key)
    }

    /// The password with its salt: the key of everything that follows.
    fn salted(self, password: &str, salt: &[u8], rounds: NonZeroU32) -> hmac::Key {
        let (algorithm, length) = match self {
            Self::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            Self::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        };
        let mut key = [0; 64];
        pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut key[..length]);
        self.key(&key[..length])
    }
}

impl Scram {
    /// `nonce`: random, printable, without a comma.
    pub(super) fn new(hash: Hash, user: &str, password: &str, nonce: &str) -> Self {
        let prepared = |text: &str| match stringprep::saslprep(text) {
            Ok(prepared) => prepared.into_owned(),
            // Whoever allowed it to be set may compare it as it is.
            Err(_) => text.to_owned(),
        };
        let user = prepared(user).replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password: prepared(password),
            first: format!("n={user},r={nonce}"),
            nonce: nonce.to_owned(),
            expected: None,
        }
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The answer to the server's first message, or what is wrong with that.
    pub(super) fn answer(&mut self, challenge: &str) -> Result<String, String> {
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let (nonce, salt, rounds) = part("r=")
            .zip(part("s="))
            .zip(part("i="))
            .map(|((nonce, salt), rounds)| (nonce, salt, rounds))
            .ok_or("a SCRAM challenge without nonce, salt or rounds")?;
        if challenge.starts_with("m=") || !nonce.starts_with(&self.nonce) {
            return Err("a SCRAM challenge that is not for us".to_owned());
        }
        let salt = STANDARD.decode(salt).map_err(|_| "a SCRAM salt that is not base64")?;
        let rounds = rounds.parse().ok().and_then(NonZeroU32::new);
        let rounds = rounds
            .filter(|rounds| rounds.get() <= MOST_ROUNDS)
            .ok_or("a number of SCRAM rounds that is none, or too large")?;
        let salted = self.hash.salted(&self.password, &salt, rounds);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = self.hash.hash(client_key.as_ref());
        let last = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{last}", self.first);
        let signature = hmac::sign(&self.hash.key(stored_key.as_ref()), all.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, by)| key ^ by).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        self.expected = Some(hmac::sign(&self.hash.key(server_key.as_ref()), all.as_bytes()));
        Ok(format!("{last},p={}", STANDARD.encode(proof)))
    }

    /// Whether the server's last message proves that it knows the password.
    pub(super) fn accepts(&self, last: &str) -> bool {
        let said = last.split(',').find_map(|part| part.strip_prefix("v="));
        let said = said.and_then(|said| STANDARD.decode(said).ok());
        // Both are made from what was said in public; the time of comparing them tells nothing.
        said.zip(self.expected).is_some_and(|(said, expected)| said == expected.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_of_rfc_5802() {
        let mut scram = Scram::new(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
        assert_eq!(scram.first(), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
        let challenge = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        assert_eq!(
            scram.answer(challenge).unwrap(),
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        );
        assert!(scram.accepts("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="));
        assert!(!scram.accepts("v=rmF9pqV8S7suAoZWja4dJRkFsKR="));
        assert!(!scram.accepts(""));
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let mut scram = Scram::new(Hash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.answer(challenge).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(scram.accepts("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn a_challenge_that_is_not_ours_or_costs_too_much_is_not_answered() {
        for challenge in [
            "",
            "r=other,s=QSXCR+Q6sek8bf92,i=4096",
            "m=x,r=nonce1,s=QSXCR+Q6sek8bf92,i=4096",
            "r=nonce1,s=!,i=4096",
            "r=nonce1,s=QSXCR+Q6sek8bf92,i=0",
            "r=nonce1,s=QSXCR+Q6sek8bf92,i=4000000000",
        ] {
            let mut scram = Scram::new(Hash::Sha512, "u", "p", "nonce");
            assert!(scram.answer(challenge).is_err(), "{challenge}");
            assert!(!scram.accepts("v="), "nothing is expected yet");
        }
        assert_eq!(Hash::of(&["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"]), Some(Hash::Sha1));
        assert_eq!(Scram::new(Hash::Sha1, "a=b,c", "", "n").first(), "n,,n=a=3Db=2Cc,r=n");
    }
}
