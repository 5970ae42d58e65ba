//! `madang_core`: the engine for Python. It converts, lets go of the GIL where work is done, and maps
//! errors; it decides nothing.
//!
//! A broken invariant panics inside the engine and reaches Python as `PanicException`, which no
//! `except Exception` catches. The object then refuses every further use, for its state is worth nothing.

use madang_engine::{BatchError, Engine as Core};
use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// The matching engine; layouts are in `madang.wire`.
#[pyclass(module = "madang_core")]
struct Engine {
    core: Core,
    /// Set while a batch is applied, and for ever where that panicked.
    broken: bool,
}

impl Engine {
    fn sound(&self) -> PyResult<&Core> {
        if self.broken {
            return Err(PyAssertionError::new_err("the engine broke an invariant before"));
        }
        Ok(&self.core)
    }
}

fn bytes(py: Python<'_>, data: &[u8]) -> Py<PyBytes> {
    PyBytes::new(py, data).unbind()
}

#[pymethods]
impl Engine {
    #[new]
    fn new() -> Engine {
        Engine { core: Core::new(), broken: false }
    }

    /// Rebuild the engine that gave this snapshot; `ValueError` says what is wrong with the bytes.
    #[staticmethod]
    fn restore(py: Python<'_>, snapshot: &[u8]) -> PyResult<Engine> {
        let core = py.detach(|| Core::restore(snapshot)).map_err(PyValueError::new_err)?;
        Ok(Engine { core, broken: false })
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.core.sequence()
    }

    #[getter]
    fn now_ns(&self) -> i64 {
        self.core.now_ns()
    }

    /// Apply one batch record and return its events, concatenated.
    fn apply(&mut self, py: Python<'_>, batch: &[u8]) -> PyResult<Py<PyBytes>> {
        self.sound()?;
        self.broken = true;
        let core = &mut self.core;
        let applied = py.detach(|| core.apply(batch));
        self.broken = false;
        match applied {
            Ok(events) => Ok(bytes(py, events)),
            Err(BatchError::Malformed(why)) => Err(PyValueError::new_err(why)),
            Err(BatchError::OutOfOrder(why)) => Err(PyAssertionError::new_err(why)),
        }
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let core = self.sound()?;
        Ok(bytes(py, &py.detach(|| core.snapshot())))
    }

    fn state_hash(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let core = self.sound()?;
        Ok(bytes(py, &py.detach(|| core.state_hash())))
    }

    fn order(&self, py: Python<'_>, order_id: u64) -> PyResult<Option<Py<PyBytes>>> {
        Ok(self.sound()?.order(order_id).map(|record| bytes(py, &record)))
    }

    fn orders(&self, py: Python<'_>, account: u32) -> PyResult<Py<PyBytes>> {
        Ok(bytes(py, &self.sound()?.orders(account)))
    }

    fn account(&self, py: Python<'_>, account: u32) -> PyResult<Option<Py<PyBytes>>> {
        Ok(self.sound()?.account(account).map(|record| bytes(py, &record)))
    }

    fn accounts(&self, py: Python<'_>, after: i64, limit: usize) -> PyResult<Py<PyBytes>> {
        Ok(bytes(py, &self.sound()?.accounts(after, limit)))
    }

    fn positions(&self, py: Python<'_>, account: u32) -> PyResult<Py<PyBytes>> {
        Ok(bytes(py, &self.sound()?.positions(account)))
    }

    fn instruments(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        Ok(bytes(py, &self.sound()?.instruments()))
    }

    fn credentials(&self, py: Python<'_>, after: u32, limit: usize) -> PyResult<Py<PyBytes>> {
        Ok(bytes(py, &self.sound()?.credentials(after, limit)))
    }

    fn depth(&self, py: Python<'_>, instrument: u32, levels: usize) -> PyResult<Py<PyBytes>> {
        Ok(bytes(py, &self.sound()?.depth(instrument, levels)))
    }

    /// Check every invariant in full; `AssertionError` names the one that does not hold.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.sound()?;
        py.detach(|| core.check()).map_err(PyAssertionError::new_err)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.sound()?.statistics();
        let dict = PyDict::new(py);
        dict.set_item("orders", counts.orders)?;
        dict.set_item("keys", counts.keys)?;
        dict.set_item("requests", counts.requests)?;
        dict.set_item("accounts", counts.accounts)?;
        dict.set_item("outcomes", counts.requests)?;
        dict.set_item("trades", counts.trades)?;
        dict.set_item("events", counts.events)?;
        dict.set_item("session", counts.session)?;
        dict.set_item("market_session", counts.market_session)?;
        Ok(dict)
    }
}

/// The compiled matching engine of Madang.
#[pymodule(gil_used = false)]
fn madang_core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Engine>()
}
