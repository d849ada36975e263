// Sends events with the clients of the protocols that adapters read, to the collector at the given URL.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { Readable } from 'node:stream';

import MessageValidator from 'sns-validator';
import { Analytics } from '@segment/analytics-node';
import { buildPageView, buildSelfDescribingEvent, buildStructEvent, newTracker } from '@snowplow/node-tracker';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { OTLPLogExporter as JsonExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtobufExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from 'cloudevents';

const base = new URL(process.argv[2]);

const clients = {
    async segment() {
        const analytics = new Analytics({ writeKey: 'KEY', host: base.origin, flushAt: 3 });
        const problems = [];
        analytics.on('error', (error) => problems.push(error));
        analytics.identify({ userId: 'u1', traits: { plan: 'pro' }, messageId: 'node-1' });
        analytics.track({ userId: 'u1', event: 'Order Completed', properties: { total: 27.5 }, messageId: 'node-2' });
        analytics.page({ anonymousId: 'a1', name: 'Home', properties: { path: '/' }, messageId: 'node-3' });
        await analytics.closeAndFlush();
        if (problems.length > 0) throw new Error(JSON.stringify(problems));
    },

    async snowplow() {
        for (const [eventMethod, encodeBase64] of [['post', true], ['get', true], ['post', false], ['get', false]]) {
            await new Promise((resolve, reject) => {
                const tracker = newTracker(
                    { namespace: `${eventMethod}-${encodeBase64}`, appId: 'shop', encodeBase64 },
                    {
                        endpoint: base.hostname,
                        protocol: 'http',
                        port: Number(base.port),
                        eventMethod,
                        bufferSize: 3,
                        onRequestSuccess: (batch) => {
                            sent += batch.length;
                            if (sent === 3) resolve();
                        },
                        onRequestFailure: (failure) => reject(new Error(JSON.stringify(failure))),
                    },
                );
                let sent = 0;
                tracker.setUserId('u1');
                const context = [{ schema: 'iglu:com.acme/user/jsonschema/1-0-0', data: { kind: 'tester' } }];
                tracker.track(buildPageView({ pageUrl: 'https://example.com/?a=1&b=2', pageTitle: 'Home' }), context);
                tracker.track(buildStructEvent({ category: 'cart', action: 'add', value: 9.5 }));
                const event = { schema: 'iglu:com.acme/order/jsonschema/1-0-0', data: { number: 'A-1', note: '£ÿ?' } };
                tracker.track(buildSelfDescribingEvent({ event }));
                tracker.flush();
            });
        }
    },

    async otlp() {
        for (const [name, exporter] of [
            ['json', new JsonExporter({ url: `${base.origin}/v1/logs` })],
            ['protobuf', new ProtobufExporter({ url: `${base.origin}/v1/logs` })],
            ['gzip', new ProtobufExporter({ url: `${base.origin}/v1/logs`, compression: 'gzip' })],
        ]) {
            const provider = new LoggerProvider({
                resource: resourceFromAttributes({ 'service.name': name, 'host.name': 'h1' }),
                processors: [new SimpleLogRecordProcessor({ exporter })],
            });
            const logger = provider.getLogger('lib', '1.2.3');
            logger.emit({
                timestamp: [1780000000, 123456789],
                severityNumber: 17,
                severityText: 'ERROR',
                body: 'disk full',
                attributes: { path: '/var', free: 0, ratio: 0.5, is_root: true, tags: ['a', 'b'] },
            });
            logger.emit({ timestamp: [1780000001, 0], severityNumber: 9, body: { a: [1, 'x', null] }, eventName: 'started' });
            await provider.shutdown();
        }
    },

    async cloudevents() {
        const url = `${base.origin}/wh/cloudevents`;
        const event = (id, data, more) =>
            new CloudEvent({ id, source: '/shop', type: 'order', time: '2026-05-29T00:00:00Z', data, ...more });
        await emitterFor(httpTransport(url), { mode: Mode.STRUCTURED })(event('structured', { number: 1 }));
        await emitterFor(httpTransport(url), { mode: Mode.BINARY })(event('binary', { number: 2 }, { subject: 'é "x"' }));
        const text = event('text', 'plain', { datacontenttype: 'text/plain' });
        await emitterFor(httpTransport(url), { mode: Mode.BINARY })(text);
        const batch = [event('batch-1', { number: 3 }), event('batch-2', { number: 4 })];
        const bodies = batch.map((one) => HTTP.structured(one).body);
        const answer = await fetch(url, {
            method: 'POST',
            headers: { 'Content-Type': 'application/cloudevents-batch+json' },
            body: `[${bodies.join(',')}]`,
        });
        if (answer.status !== 200) throw new Error(await answer.text());
    },

    // Validates the messages of sns.json as a subscriber of SNS does, and sends each as it is and with another text.
    async sns() {
        const certificate = readFileSync(new URL('../../ingest/src/verify/sns/certificate.pem', import.meta.url));
        https.get = (_, answer) => {
            answer(Object.assign(Readable.from([certificate]), { statusCode: 200 }));
            return { on() {} };
        };
        const validate = (message) =>
            new Promise((resolve) => new MessageValidator().validate(structuredClone(message), (problem) => resolve(!problem)));
        for (const signed of JSON.parse(readFileSync(new URL('sns.json', import.meta.url)))) {
            for (const message of [signed, { ...signed, Message: '{"number":"A-2"}' }]) {
                const answer = await fetch(`${base.origin}/signed/sns`, {
                    method: 'POST',
                    headers: { 'Content-Type': 'text/plain; charset=UTF-8' },
                    body: JSON.stringify(message),
                });
                const expected = (await validate(message)) ? 200 : 401;
                if (message === signed && expected !== 200) throw new Error('sns.json is not signed');
                if (answer.status !== expected) throw new Error(`${answer.status} in place of ${expected}: ${message.Type}`);
            }
        }
    },
};

await clients[process.argv[3]]();
