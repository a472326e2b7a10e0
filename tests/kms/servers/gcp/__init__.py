"""The parts of the Cloud KMS test server: see ../gcp_kms.py."""
