//! Points and what is done with them.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::VartimeMultiscalarMul;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::scalars::{scalar_of, Vector};

/// From this many points on, a product is long enough for others to run meanwhile.
const RELEASE_FROM: usize = 16;

/// A decoded point.
#[pyclass(frozen, module = "nexus_native")]
pub struct Point(RistrettoPoint);

#[pymethods]
impl Point {
    /// The canonical encoding, 32 bytes.
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.compress().as_bytes())
    }
}

#[pyfunction]
pub fn base() -> Point {
    Point(RISTRETTO_BASEPOINT_POINT)
}

/// The point of a canonical encoding, or None.
#[pyfunction]
pub fn decode(encoding: &[u8]) -> Option<Point> {
    CompressedRistretto::from_slice(encoding).ok()?.decompress().map(Point)
}

/// The point that RFC 9496 derives from 64 bytes.
#[pyfunction]
pub fn from_uniform(uniform: &[u8]) -> PyResult<Point> {
    let bytes: &[u8; 64] = uniform.try_into().map_err(|_| PyValueError::new_err("a point is derived from 64 bytes"))?;
    Ok(Point(RistrettoPoint::from_uniform_bytes(bytes)))
}

#[pyfunction]
pub fn add(left: &Point, right: &Point) -> Point {
    Point(left.0 + right.0)
}

#[pyfunction]
pub fn subtract(left: &Point, right: &Point) -> Point {
    Point(left.0 - right.0)
}

/// In constant time.
#[pyfunction]
pub fn multiply(scalar: &Bound<'_, PyAny>, point: &Point) -> PyResult<Point> {
    Ok(Point(scalar_of(scalar)? * point.0))
}

/// The sum of scalar times point, in a time that depends on the scalars.
#[pyfunction]
pub fn multiscalar(py: Python<'_>, scalars: &Vector, points: Vec<PyRef<'_, Point>>) -> PyResult<Point> {
    if scalars.0.len() != points.len() {
        return Err(PyValueError::new_err("not as many scalars as points"));
    }
    if points.len() < RELEASE_FROM {
        let product = RistrettoPoint::vartime_multiscalar_mul(&scalars.0, points.iter().map(|point| point.0));
        return Ok(Point(product));
    }
    let points: Vec<RistrettoPoint> = points.iter().map(|point| point.0).collect();
    let scalars = &scalars.0;
    Ok(Point(py.detach(|| RistrettoPoint::vartime_multiscalar_mul(scalars, &points))))
}
