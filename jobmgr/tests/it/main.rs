mod blobs;
mod store;
