//! The fast half of `crypto`: Ristretto255 on curve25519-dalek, Falcon-1024 signatures, and many of their
//! verifications at once.
//!
//! It knows no protocol. `crypto.group.native`, `crypto.falcon` and `crypto.falcon_batch` call it; all have a slower
//! form that needs no compiler and gives the same bytes, or signatures of the same form. No `unsafe` here.

#![forbid(unsafe_code)]

mod falcon;
mod group;
mod scalars;

use pyo3::prelude::*;

#[pymodule]
fn nexus_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<group::Point>()?;
    module.add_class::<scalars::Vector>()?;
    module.add_function(wrap_pyfunction!(group::base, module)?)?;
    module.add_function(wrap_pyfunction!(group::decode, module)?)?;
    module.add_function(wrap_pyfunction!(group::from_uniform, module)?)?;
    module.add_function(wrap_pyfunction!(group::add, module)?)?;
    module.add_function(wrap_pyfunction!(group::subtract, module)?)?;
    module.add_function(wrap_pyfunction!(group::multiply, module)?)?;
    module.add_function(wrap_pyfunction!(group::multiscalar, module)?)?;
    module.add_function(wrap_pyfunction!(scalars::vector, module)?)?;
    module.add_function(wrap_pyfunction!(scalars::powers, module)?)?;
    module.add_function(wrap_pyfunction!(falcon::falcon_sign, module)?)?;
    module.add_class::<falcon::FalconKey>()?;
    module.add_function(wrap_pyfunction!(falcon::falcon_key, module)?)?;
    module.add_function(wrap_pyfunction!(falcon::falcon_verify_many, module)?)?;
    Ok(())
}
