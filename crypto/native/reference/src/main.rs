//! The crate `bulletproofs`, as a program.
//!
//!     reference time COUNT...     for each: "COUNT prove verify" of a 64-bit proof in CPU seconds, best of several
//!     reference verify LABEL      proofs over Merlin with this label on stdin, one a line:
//!                                 "proof commitment commitment ..." in hex; prints "true" or "false" for each

use std::env;
use std::io::stdin;
use std::time::Duration;

use bulletproofs::{BulletproofGens, PedersenGens, RangeProof};
use cpu_time::ProcessTime;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use merlin::Transcript;
use rand::{thread_rng, Rng};

const BITS: usize = 64;
const MOST: usize = 16;
const BUDGET: Duration = Duration::from_millis(400);

fn main() {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("time") => arguments.for_each(|count| time(count.parse().expect("a count"))),
        Some("verify") => {
            let label: &'static [u8] = arguments.next().expect("a label").into_bytes().leak();
            stdin().lines().for_each(|line| println!("{}", verify(label, &line.expect("a line")).is_some()));
        }
        _ => panic!("what to do: time or verify"),
    }
}

fn time(count: usize) {
    let (pedersen, generators) = (PedersenGens::default(), BulletproofGens::new(BITS, MOST));
    let mut random = thread_rng();
    let values: Vec<u64> = (0..count).map(|_| random.gen()).collect();
    let blindings: Vec<Scalar> = (0..count).map(|_| Scalar::random(&mut random)).collect();
    let prove = || {
        let mut transcript = Transcript::new(b"time");
        RangeProof::prove_multiple(&generators, &pedersen, &mut transcript, &values, &blindings, BITS).expect("a proof")
    };
    let (proof, commitments) = prove();
    let verify = || {
        let mut transcript = Transcript::new(b"time");
        proof.verify_multiple(&generators, &pedersen, &mut transcript, &commitments, BITS).expect("it holds");
    };
    println!("{count} {} {}", best(|| drop(prove())), best(verify));
}

/// CPU seconds of the fastest run among those that fit into the budget.
fn best(run: impl Fn()) -> f64 {
    let begun = ProcessTime::now();
    let mut least = Duration::MAX;
    while begun.elapsed() < BUDGET {
        let once = ProcessTime::now();
        run();
        least = least.min(once.elapsed());
    }
    least.as_secs_f64()
}

fn verify(label: &'static [u8], line: &str) -> Option<()> {
    let mut parts = line.split_whitespace().map(|part| hex::decode(part).ok());
    let proof = RangeProof::from_bytes(&parts.next()??).ok()?;
    let commitments = parts.map(|part| CompressedRistretto::from_slice(&part?).ok()).collect::<Option<Vec<_>>>()?;
    let (pedersen, generators) = (PedersenGens::default(), BulletproofGens::new(BITS, MOST));
    proof.verify_multiple(&generators, &pedersen, &mut Transcript::new(label), &commitments, BITS).ok()
}
