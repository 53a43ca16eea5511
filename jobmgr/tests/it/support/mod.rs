/// A real S3 server.
pub mod s3;
