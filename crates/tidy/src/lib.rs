//! The habits of this repository as a test (`cargo test -p tidy`): what is forbidden, how large a
//! function may grow, which crate may know which. Holds no code of the product; everything is
//! in `tests/it`.
