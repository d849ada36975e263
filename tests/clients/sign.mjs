// Prints the requests of the senders, signed by their own libraries, one JSON object per line. The first argument is the
// time of the signatures, in seconds since 1970.
import { createHmac, generateKeyPairSync, createSign } from 'node:crypto'
import { sign as signGitHub } from '@octokit/webhooks-methods'
import sendgrid from '@sendgrid/eventwebhook'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import Stripe from 'stripe'
import { Webhook as SvixWebhook } from 'svix'
import twilio from 'twilio'

const seconds = Number(process.argv[2])
const time = new Date(seconds * 1000)
const body = JSON.stringify({ number: 1, text: 'é – “x”' })
const json = { 'Content-Type': 'application/json' }

const print = (path, secret, headers, body) => console.log(JSON.stringify({ path, secret, headers, body }))

const webhookSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
print('/signed/standard', webhookSecret, {
  ...json,
  'webhook-id': 'msg_1',
  'webhook-timestamp': String(seconds),
  'webhook-signature': new StandardWebhook(webhookSecret).sign('msg_1', time, body),
}, body)
print('/signed/standard', webhookSecret, {
  ...json,
  'svix-id': 'msg_2',
  'svix-timestamp': String(seconds),
  'svix-signature': new SvixWebhook(webhookSecret).sign('msg_2', time, body),
}, body)

const github = "It's a Secret to Everybody"
print('/signed/github', github, { ...json, 'X-Hub-Signature-256': await signGitHub(github, body) }, body)

const stripe = 'whsec_stripe'
print('/signed/stripe', stripe, {
  ...json,
  'Stripe-Signature': Stripe.webhooks.generateTestHeaderString({ payload: body, secret: stripe, timestamp: seconds }),
}, body)

const token = 'twilio-token'
const fields = { number: '1', Body: 'a + b & c', From: '+14158675309', AccountSid: 'AC1' }
print('/signed/twilio?x=1', token, {
  'Content-Type': 'application/x-www-form-urlencoded',
  'X-Twilio-Signature': twilio.getExpectedTwilioSignature(token, 'https://stat.example.com/signed/twilio?x=1', fields),
}, new URLSearchParams(fields).toString())
const target = `/signed/twilio?bodySHA256=${twilio.getExpectedBodyHash(body)}`
print(target, token, {
  ...json,
  'X-Twilio-Signature': twilio.getExpectedTwilioSignature(token, `https://stat.example.com${target}`, {}),
}, body)

// The libraries of SendGrid only verify; the library checks the signature that is made here.
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const key = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
const signature = createSign('sha256').update(seconds + body).sign(privateKey, 'base64')
const webhook = new sendgrid.EventWebhook()
if (!webhook.verifySignature(webhook.convertPublicKeyToECDSA(key), body, signature, String(seconds))) {
  throw new Error('SendGrid refuses the signature')
}
print('/signed/sendgrid', key, {
  ...json,
  [sendgrid.EventWebhookHeader.SIGNATURE()]: signature,
  [sendgrid.EventWebhookHeader.TIMESTAMP()]: String(seconds),
}, body)

// As the documentation of these senders describes it; they have no library that signs.
const hmac = (secret, text, form) => createHmac('sha256', secret).update(text).digest(form)
print('/signed/shopify', 'shop', { ...json, 'X-Shopify-Hmac-Sha256': hmac('shop', body, 'base64') }, body)
print('/signed/slack', 'slack', {
  ...json,
  'X-Slack-Request-Timestamp': String(seconds),
  'X-Slack-Signature': `v0=${hmac('slack', `v0:${seconds}:${body}`, 'hex')}`,
}, body)
const mail = { timestamp: String(seconds), token: 'a1', signature: hmac('mail', `${seconds}a1`, 'hex') }
print('/signed/mailgun', 'mail', json, JSON.stringify({ number: 1, signature: mail }))
