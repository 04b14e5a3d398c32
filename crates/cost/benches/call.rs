//! How long a call takes in the gateway's own code, by the size of its texts:
//! `cargo bench -p slackwater-cost`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slackwater_cost::{Calls, SIZES};

fn call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    for size in SIZES {
        group.throughput(Throughput::Bytes(2 * size as u64));
        let mut calls = Calls::new(size);
        group.bench_function(format!("{size} bytes"), |bencher| bencher.iter(|| calls.call()));
    }
    group.finish();
}

criterion_group!(benches, call);
criterion_main!(benches);
