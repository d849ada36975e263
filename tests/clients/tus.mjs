// Uploads a file with tus-js-client, as its documentation shows: node tus.mjs ENDPOINT FILE TYPE CHUNK
import { createReadStream, statSync } from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, file, filetype, chunkSize] = process.argv.slice(2);
const upload = new Upload(createReadStream(file), {
  endpoint,
  uploadSize: statSync(file).size,
  chunkSize: Number(chunkSize),
  retryDelays: Array(300).fill(100),
  metadata: { filename: file.split("/").pop(), filetype },
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    console.log(upload.url);
  },
});
upload.start();
