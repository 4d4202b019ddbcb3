//! Falcon-1024 signatures in the form of NIST's third round: made one at a time, verified many at once on several cores.

use std::thread;

use fn_dsa_sign::{SigningKey, SigningKey1024};
use fn_dsa_vrfy::{VerifyingKey, VerifyingKey1024, DOMAIN_NONE, HASH_ID_ORIGINAL_FALCON};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use rand_core::OsRng;

/// Bytes of a padded signature.
const SIGNATURE: usize = 1280;

/// A public key, ready to verify with: to get there takes as long as half a verification.
#[pyclass(frozen)]
pub struct FalconKey(VerifyingKey1024);

/// Key, message, signature.
type Signed = (Option<Py<FalconKey>>, PyBackedBytes, PyBackedBytes);

/// A padded signature, or nothing if the bytes are no secret key. The nonce and the sampler's seed come from the operating
/// system: two signatures over one message differ. The decoded key and all that is computed from it are overwritten with
/// zeros in the end; the sampler's seed, which serves one signature, is left on the stack.
#[pyfunction]
pub fn falcon_sign<'py>(py: Python<'py>, secret: PyBackedBytes, message: PyBackedBytes) -> Option<Bound<'py, PyBytes>> {
    let signature = py.detach(|| {
        let mut key = SigningKey1024::decode(&secret)?;
        let mut signature = [0; SIGNATURE];
        key.sign(&mut OsRng, &DOMAIN_NONE, &HASH_ID_ORIGINAL_FALCON, &message, &mut signature);
        Some(signature)
    })?;
    Some(PyBytes::new(py, &signature))
}

/// The key of these bytes, or nothing if they are no public key.
#[pyfunction]
pub fn falcon_key(public: &[u8]) -> Option<FalconKey> {
    VerifyingKey1024::decode(public).map(FalconKey)
}

/// For each, whether the signature is valid; bytes of a wrong form are not, nor is any without a key.
#[pyfunction]
pub fn falcon_verify_many(py: Python<'_>, signed: Vec<Signed>, threads: usize) -> Vec<bool> {
    py.detach(|| {
        if threads <= 1 {
            return signed.iter().map(valid).collect();
        }
        let share = signed.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let running: Vec<_> = signed
                .chunks(share)
                .map(|chunk| scope.spawn(move || chunk.iter().map(valid).collect::<Vec<bool>>()))
                .collect();
            running.into_iter().flat_map(|one| one.join().expect("a verification panicked")).collect()
        })
    })
}

fn valid((key, message, signature): &Signed) -> bool {
    key.as_ref().is_some_and(|key| key.get().0.verify(signature, &DOMAIN_NONE, &HASH_ID_ORIGINAL_FALCON, message))
}
