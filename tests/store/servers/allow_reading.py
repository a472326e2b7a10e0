"""Lets everybody list and read a bucket of MinIO: allow_reading.py ENDPOINT USER PASSWORD BUCKET"""
import json
import sys

import boto3

endpoint, user, password, bucket = sys.argv[1:]
arn = f"arn:aws:s3:::{bucket}"
statement = {
    "Effect": "Allow",
    "Principal": {"AWS": ["*"]},
    "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject"],
    "Resource": [arn, f"{arn}/*"],
}
store = boto3.client(
    "s3", endpoint_url=endpoint, aws_access_key_id=user, aws_secret_access_key=password, region_name="us-east-1"
)
store.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
