//! What an operator reads over HTTP: health, metrics, the status page. It runs beside the workers.
