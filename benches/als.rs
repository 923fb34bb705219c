//! ALS on a synthetic platform: seconds an iteration, GFLOP/s, and implicit's CG beside it.
//!
//! `cargo bench --bench als`; `SERIN_PEERS=~/.peers` names a Python environment that has implicit, numpy and scipy.
//! `SERIN_BENCH_VIEWERS` (100000), `SERIN_BENCH_PROGRAMMES` (5000) and `SERIN_BENCH_VIEWINGS` (5000000) set the size.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use serin::model::kernel::{self, CHUNK, Rows, System, matrix_len};

const RANK: usize = 64;
const THREADS: usize = 2;

/// Reads what `serin data synth` wrote, trains as long, and prints the median seconds of an iteration.
const PEER: &str = r#"
import sys, statistics, numpy as np, scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
rows, threads, rank = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
users, items, u, i, v = {}, {}, [], [], []
with open(rows) as f:
    next(f)
    for line in f:
        a, b, _, _, c = line.split(",")
        u.append(users.setdefault(a, len(users))); i.append(items.setdefault(b, len(items))); v.append(float(c))
m = sp.csr_matrix((10 * np.array(v, np.float32), (u, i)), shape=(len(users), len(items)), dtype=np.float32)
each = []
model = AlternatingLeastSquares(factors=rank, regularization=5.0, alpha=1.0, iterations=9, use_cg=True, num_threads=threads, random_state=7)
model.fit(m, show_progress=False, callback=lambda _i, s, _l: each.append(s))
print(statistics.median(each))
"#;

fn main() {
    let folder = std::env::temp_dir().join(format!("serin-als-{}", std::process::id()));
    let size = |name: &str, usual: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(usual);
    let viewers = size("SERIN_BENCH_VIEWERS", 100_000);
    let programmes = size("SERIN_BENCH_PROGRAMMES", 5_000);
    let viewings = size("SERIN_BENCH_VIEWINGS", 5_000_000);
    let data = folder.join("data");
    let flags = format!("--viewers {viewers} --programmes {programmes} --viewings {viewings}");
    serin(&format!("data synth --out {} {flags}", data.display()));
    let rows = data.join("interactions.csv");
    let line = format!(
        "train --interactions {} --out {} --convention implicit --rank {RANK} --iterations 9 --threads {THREADS}",
        rows.display(),
        folder.join("model").display()
    );
    let trained = serin(&line);
    let number = |name: &str| trained[name].as_f64().unwrap_or(f64::NAN);
    let own = number("seconds_per_iteration");
    // Half of each symmetric product, on both sides, and one factorisation a row.
    let rank = RANK as f64;
    let work =
        2.0 * number("interactions") * rank * (rank + 1.0) + (number("users") + number("items")) * rank.powi(3) / 3.0;
    println!("{} viewings, rank {RANK}, {THREADS} threads, {}", number("interactions"), kernel::best().name);
    println!("serin         {own:.3} s/iteration, {:.0} GFLOP/s, {:.0} MB", work / own / 1e9, number("peak_rss_mb"));
    for kernel in kernel::all() {
        println!("{:13} {:.0} GFLOP/s in one core's products", kernel.name, products(kernel));
    }
    match std::env::var("SERIN_PEERS").ok().and_then(|peers| peer(Path::new(&peers), &rows)) {
        Some(theirs) => println!("implicit CG   {theirs:.3} s/iteration; serin takes {:.2} of it", own / theirs),
        None => println!("implicit CG   not measured: SERIN_PEERS names no Python environment with implicit"),
    }
    let _ = std::fs::remove_dir_all(&folder);
}

fn serin(line: &str) -> Value {
    let out =
        Command::new(env!("CARGO_BIN_EXE_serin")).args(line.split(' ')).arg("--json").output().expect("serin runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("a document")
}

fn peer(peers: &Path, rows: &Path) -> Option<f64> {
    let mut python = Command::new(peers.join("bin/python"));
    python.env("OPENBLAS_NUM_THREADS", "1").args(["-c", PEER]).arg(rows);
    let out = python.args([THREADS.to_string(), RANK.to_string()]).output().ok()?;
    String::from_utf8_lossy(&out.stdout).trim().parse().ok()
}

/// Returns the floating-point operations that count, in one core, when rows lie in the nearest cache.
fn products(kernel: &kernel::Kernel) -> f64 {
    let factors = vec![0.5_f32; 100 * RANK];
    let (columns, weights): (Vec<u32>, Vec<(f32, f32)>) = (0..100).map(|i| (i, (0.1, 1.0))).unzip();
    let (mut matrix, mut right) = (vec![0.0; matrix_len(RANK)], vec![0.0; RANK]);
    let mut scratch = vec![0.0; 2 * CHUNK * RANK];
    let (rounds, began) = (20_000_u32, Instant::now());
    for _ in 0..rounds {
        let mut system = System { matrix: &mut matrix, right: &mut right, scratch: &mut scratch };
        kernel.accumulate(&mut system, &Rows { factors: &factors, rank: RANK, columns: &columns, weights: &weights });
    }
    let work = f64::from(rounds) * 100.0 * (RANK * (RANK + 1)) as f64;
    work / began.elapsed().as_secs_f64() / 1e9
}
