//! This library is empty. The examples of gracehttp are the files beside it; the shop has a directory.
