// Calls methods with the npm package `json-rpc-2.0` over HTTP and over a WebSocket, and prints the results.
import { JSONRPCClient } from 'json-rpc-2.0'
import WebSocket from 'ws'

const [address] = process.argv.slice(2)

const overHttp = new JSONRPCClient(async (request) => {
  const response = await fetch(`http://${address}/rpc`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(request),
  })
  if (response.status !== 204) overHttp.receive(await response.json())
})

const socket = new WebSocket(`ws://${address}/wss`)
await new Promise((resolve) => socket.on('open', resolve))
const overWebSocket = new JSONRPCClient((request) => socket.send(JSON.stringify(request)))
socket.on('message', (reply) => overWebSocket.receive(JSON.parse(String(reply))))

for (const [name, client] of [['http', overHttp], ['ws', overWebSocket]]) {
  const print = (what, value) => console.log(name, what, JSON.stringify(value))
  print('result', await client.request('wh.mail', { event: `${name}-one` }))
  client.notify('wh.mail', { event: `${name}-notified` })
  const both = await Promise.all([
    client.request('wh.mail', { event: `${name}-two` }),
    client.request('wh.mail', { event: `${name}-three` }),
  ])
  print('both', both.length)
  const batch = await client.requestAdvanced([
    { jsonrpc: '2.0', id: 'a', method: 'wh.mail', params: { event: `${name}-four` } },
    { jsonrpc: '2.0', id: 'b', method: 'none', params: {} },
  ])
  print('batch', batch.map((reply) => reply.error?.code ?? 0))
  const error = await client.request('track.page', { sess: { num: 'x' } }).catch((error) => error)
  print('error', error.code)
}
socket.close()
