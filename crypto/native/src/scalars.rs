//! Vectors of scalars modulo the order of the group.

use curve25519_dalek::scalar::Scalar;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyType};

const ORDER: &str = "7237005577332262213973186563042994240857116359379907606001950938285454250989";

/// Scalars, one beside another. Immutable; operations go element by element.
#[pyclass(frozen, module = "nexus_native")]
pub struct Vector(pub Vec<Scalar>);

impl Vector {
    fn with(&self, other: &Vector, of: impl Fn(&Scalar, &Scalar) -> Scalar) -> PyResult<Vector> {
        self.check(other)?;
        Ok(Vector(self.0.iter().zip(&other.0).map(|(a, b)| of(a, b)).collect()))
    }

    fn check(&self, other: &Vector) -> PyResult<()> {
        if self.0.len() == other.0.len() {
            return Ok(());
        }
        Err(PyValueError::new_err(format!("vectors of {} and {} scalars", self.0.len(), other.0.len())))
    }
}

#[pymethods]
impl Vector {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __add__(&self, other: &Vector) -> PyResult<Vector> {
        self.with(other, |a, b| a + b)
    }

    fn __mul__(&self, other: &Vector) -> PyResult<Vector> {
        self.with(other, |a, b| a * b)
    }

    fn scale(&self, factor: &Bound<'_, PyAny>) -> PyResult<Vector> {
        let factor = scalar_of(factor)?;
        Ok(Vector(self.0.iter().map(|element| element * factor).collect()))
    }

    fn shift(&self, summand: &Bound<'_, PyAny>) -> PyResult<Vector> {
        let summand = scalar_of(summand)?;
        Ok(Vector(self.0.iter().map(|element| element + summand).collect()))
    }

    fn inner<'py>(&self, py: Python<'py>, other: &Vector) -> PyResult<Bound<'py, PyAny>> {
        self.check(other)?;
        let product: Scalar = self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum();
        integer_of(py, &product)
    }

    /// The elements from `begin` up to, not including, `end`, as far as there are any.
    fn slice(&self, begin: usize, end: usize) -> Vector {
        let end = end.min(self.0.len());
        Vector(self.0[begin.min(end)..end].to_vec())
    }

    fn join(&self, other: &Vector) -> Vector {
        Vector([self.0.as_slice(), other.0.as_slice()].concat())
    }

    fn reverse(&self) -> Vector {
        Vector(self.0.iter().rev().copied().collect())
    }

    fn integers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.0.iter().map(|element| integer_of(py, element)).collect()
    }
}

/// Integers modulo the order.
#[pyfunction]
pub fn vector(integers: Vec<Bound<'_, PyAny>>) -> PyResult<Vector> {
    Ok(Vector(integers.iter().map(scalar_of).collect::<PyResult<_>>()?))
}

/// 1, base, base^2 ...
#[pyfunction]
pub fn powers(base: &Bound<'_, PyAny>, count: usize) -> PyResult<Vector> {
    let base = scalar_of(base)?;
    let all = std::iter::successors(Some(Scalar::ONE), |power| Some(power * base));
    Ok(Vector(all.take(count).collect()))
}

/// A Python integer of any size and sign, modulo the order.
pub fn scalar_of(integer: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    static REDUCER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = integer.py();
    let order = REDUCER.get_or_try_init(py, || Ok::<_, PyErr>(py.get_type::<PyInt>().call1((ORDER,))?.unbind()))?;
    let reduced = integer.rem(order.bind(py))?;
    let bytes = reduced.call_method1("to_bytes", (32, "little"))?;
    let bytes: [u8; 32] = bytes.cast::<PyBytes>()?.as_bytes().try_into()?;
    Ok(Scalar::from_bytes_mod_order(bytes))
}

fn integer_of<'py>(py: Python<'py>, scalar: &Scalar) -> PyResult<Bound<'py, PyAny>> {
    static INTEGER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let integer = INTEGER.get_or_init(py, || py.get_type::<PyInt>().unbind());
    integer.bind(py).call_method1("from_bytes", (PyBytes::new(py, scalar.as_bytes()), "little"))
}
