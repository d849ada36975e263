"""Uploads a file with tuspy, as its documentation shows: python tus.py ENDPOINT FILE TYPE CHUNK"""

import sys
from tusclient import client

endpoint, file, filetype, chunk = sys.argv[1:]
uploader = client.TusClient(endpoint).uploader(
    file,
    chunk_size=int(chunk),
    retries=300,
    retry_delay=0.1,
    upload_checksum=True,
    metadata={"filetype": filetype},
)
uploader.upload()
print(uploader.url)
