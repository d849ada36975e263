// Sends messages over a WebSocket with the npm package `ws`, and prints each answer on a line.
import WebSocket from 'ws'

const [url, ...messages] = process.argv.slice(2)
const socket = new WebSocket(url, { headers: { 'User-Agent': 'ws' } })
socket.on('error', (error) => console.log('error', error.message))
socket.on('open', () => messages.forEach((message) => socket.send(message)))
let answers = 0
socket.on('message', (answer) => {
  console.log(String(answer))
  answers += 1
  if (answers === messages.length) socket.close(1000)
})
socket.on('close', (code) => console.log('closed', code))
