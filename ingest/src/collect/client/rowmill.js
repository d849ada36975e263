// The browser client of Rowmill: collects events, and sends them in batches until the collector has them.
//
//   rowmill.send('wh/orders', { number: 'A-1' })
//
// Events wait 200 ms for others of their route. A batch that fails is sent again, with growing pauses and the same
// Idempotency-Key. When the page is hidden, what is left goes out as a beacon or, offline, into localStorage, from which the
// next page takes it.
var rowmill = (() => {
  const STORE = 'rowmill'
  const MAX_BATCH = 50 // events
  const MAX_BYTES = 60000 // of a batch; browsers let 64 KiB leave with a page
  const MAX_BATCHES = 100 // that wait; the oldest are dropped first

  const script = typeof document === 'object' && document.currentScript
  const options = {
    url: script ? new URL('.', script.src).href : '/',
    credentials: 'include',
    delay: 200,
    maxPause: 60000,
    onError: (error) => console.warn('rowmill:', error),
  }

  let events = {} // by route, the JSON of those that are in no batch yet
  let batches = [] // { key, route, body }, the oldest first
  let timer, pause = 0
  let sending // the promise of a flush that is under way
  let current // the batch that a request has

  const configure = (changes) => Object.assign(options, changes)

  const report = (error) => {
    try {
      options.onError(error)
    } catch (thrown) {
      console.error(thrown)
    }
  }

  // The length in UTF-8, which the limits of browsers count.
  const size = (text) => new Blob([text]).size

  const send = (route, event) => {
    const text = JSON.stringify(event)
    let waiting = (events[route] ||= [])
    if (waiting.length >= MAX_BATCH || size(waiting + text) > MAX_BYTES) {
      close(route)
      waiting = events[route] = []
    }
    waiting.push(text)
    if (!timer && !sending) later(options.delay)
  }

  // Makes a batch of the events of a route.
  const close = (route) => {
    const body = events[route].length > 1 ? `[${events[route]}]` : events[route][0]
    delete events[route]
    const key = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-')
    batches.push({ key, route, body })
    limit()
  }

  const limit = () => {
    const dropped = batches.length - MAX_BATCHES
    if (dropped > 0) {
      batches.splice(current ? 1 : 0, dropped)
      report({ reason: 'too many events wait', dropped })
    }
  }

  const later = (ms) => {
    clearTimeout(timer)
    timer = setTimeout(flush, ms)
  }

  // Sends all events; resolves when none is left, or when a batch has to wait.
  const flush = () => {
    clearTimeout(timer)
    timer = 0
    Object.keys(events).forEach(close)
    return (sending ||= drain().finally(() => {
      sending = undefined
      if (Object.keys(events).length) later(options.delay)
    }))
  }

  const drain = async () => {
    while (batches.length) {
      const batch = (current = batches[0])
      const wait = await post(batch)
      current = undefined
      if (wait !== undefined) {
        if (globalThis.document?.visibilityState === 'hidden') store()
        if (batches.length) later(wait)
        return
      }
      batches = batches.filter((other) => other !== batch)
      pause = 0
      Object.keys(events).forEach(close)
    }
  }

  // Sends a batch. Returns the pause before it is sent again; nothing if it is done with.
  const post = async ({ key, route, body }) => {
    let response
    try {
      response = await request(key, route, body)
    } catch {
      // A page of another site may not send the cookie; offline, this fails as well.
      if (options.credentials !== 'include') return backoff()
      try {
        response = await request(key, route, body, 'omit')
        options.credentials = 'omit'
      } catch {
        return backoff()
      }
    }
    // 503 with this level: the event is kept, and must not be sent again.
    if (response.ok || response.headers.get('X-Rowmill-Ack') === 'spooled') {
      const answer = await response.json().catch(() => ({}))
      if (answer.refused) report({ route, status: response.status, answer })
    } else if (response.status === 408 || response.status === 429 || response.status >= 500) {
      return Math.max(backoff(), 1000 * response.headers.get('Retry-After'))
    } else {
      report({ route, status: response.status, answer: await response.json().catch(() => ({})) })
    }
  }

  const request = (key, route, body, credentials = options.credentials) =>
    fetch(options.url + route, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body,
      credentials,
      keepalive: size(body) <= MAX_BYTES,
    })

  const backoff = () => {
    pause = Math.min(options.maxPause, pause * 2 || 1000)
    return pause * (0.5 + Math.random() / 2)
  }

  // Lets everything leave with the page.
  const leave = () => {
    Object.keys(events).forEach(close)
    batches = batches.filter((batch) => {
      // The extension makes JSON of a text, which needs no preflight.
      const target = `${options.url}${batch.route}.json`
      return batch === current || !navigator.onLine || !navigator.sendBeacon?.(target, batch.body)
    })
    store()
  }

  // Moves all batches but the current one into localStorage.
  const store = () => {
    const moved = batches.filter((batch) => batch !== current)
    if (!moved.length) return
    try {
      const before = JSON.parse(localStorage[STORE] || '[]')
      localStorage[STORE] = JSON.stringify([...before, ...moved].slice(-MAX_BATCHES))
      batches = batches.filter((batch) => batch === current)
    } catch {
      // Storage is full or forbidden: the batches stay in memory.
    }
  }

  const restore = () => {
    try {
      batches.push(...JSON.parse(localStorage[STORE] || '[]'))
      delete localStorage[STORE]
      limit()
    } catch {
      // Storage is forbidden or broken.
    }
    if (batches.length) later(0)
  }

  if (typeof document === 'object') {
    addEventListener('visibilitychange', () => (document.visibilityState === 'hidden' ? leave() : restore()), true)
    addEventListener('pagehide', leave)
    addEventListener('pageshow', restore)
    addEventListener('online', () => {
      pause = 0
      flush()
    })
    restore()
  }

  return { configure, send, flush }
})()
