//! Every file of the corpus, and some random mutations of each, without a fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use slackwater_fuzz::TARGETS;

/// How long mutations of one target's corpus are tried. The corpus itself is always replayed whole.
const TIME: Duration = Duration::from_secs(2);

#[test]
fn the_corpus_and_its_neighbours_break_no_promise() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || replay(name, target));
        }
    });
}

fn replay(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "no corpus for {name}");
    for data in &corpus {
        run(name, target, data);
    }
    let mut chance = Chance(1);
    let began = Instant::now();
    while began.elapsed() < TIME {
        let mut data = corpus[chance.below(corpus.len())].clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut data, &corpus, &mut chance);
        }
        run(name, target, &data);
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    // The order of a folder is chance.
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("the file can be read")).collect()
}

fn run(name: &str, target: fn(&[u8]), data: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(data)));
    assert!(outcome.is_ok(), "{name} fails on:\n{}", data.escape_ascii());
}

fn mutate(data: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    const PIECES: [&[u8]; 12] = [
        b"\"",
        b"{",
        b"]",
        b"\\u0000",
        b"null",
        b"-1e999",
        b"\xff",
        b"\n",
        b"w200\np\n",
        b"\nd900\n",
        b"127.0.0.1, ",
        b"\x81\xfe",
    ];
    let at = chance.below(data.len() + 1);
    let end = (at + chance.below(24)).min(data.len());
    match chance.below(5) {
        0 if at < data.len() => data[at] ^= 1 << chance.below(8),
        1 => drop(data.drain(at..end)),
        2 => {
            let again = data[at..end].to_vec();
            data.splice(at..at, again);
        }
        3 => {
            let other = &corpus[chance.below(corpus.len())];
            let from = chance.below(other.len() + 1);
            data.truncate(at);
            data.extend(&other[from..]);
        }
        _ => {
            let piece = PIECES[chance.below(PIECES.len())];
            data.splice(at..at, piece.iter().copied());
        }
    }
}

/// splitmix64: the same neighbours in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % bound.max(1) as u64) as usize
    }
}
