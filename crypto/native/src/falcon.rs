//! Falcon-1024 signatures in the form of NIST's third round, many at once and on several cores.

use std::thread;

use fn_dsa_vrfy::{VerifyingKey, VerifyingKey1024, DOMAIN_NONE, HASH_ID_ORIGINAL_FALCON};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// Public key, message, signature.
type Signed = (PyBackedBytes, PyBackedBytes, PyBackedBytes);

/// For each, whether the signature is valid; bytes of a wrong form are not.
#[pyfunction]
pub fn falcon_verify(py: Python<'_>, signed: Vec<Signed>, threads: usize) -> Vec<bool> {
    py.detach(|| {
        let share = signed.len().div_ceil(threads.max(1)).max(1);
        thread::scope(|scope| {
            let running: Vec<_> = signed
                .chunks(share)
                .map(|chunk| scope.spawn(move || chunk.iter().map(valid).collect::<Vec<bool>>()))
                .collect();
            running.into_iter().flat_map(|one| one.join().expect("a verification panicked")).collect()
        })
    })
}

fn valid((public, message, signature): &Signed) -> bool {
    VerifyingKey1024::decode(public)
        .is_some_and(|key| key.verify(signature, &DOMAIN_NONE, &HASH_ID_ORIGINAL_FALCON, message))
}
