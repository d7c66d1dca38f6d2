"""Webhooks: tells client services what has happened, so that they need not ask (Standard Webhooks 1.0).

    event      what is sent of an event: its type, its time, ids, counts and links; never content
    signing    the three headers of Standard Webhooks
    receivers  HTTP to receivers, within bounds of its own
    schedule   when a try that failed is repeated, and when an event is given up
    sender     claims events and sends them
    expiring   the event that a certificate will end
    duty       runs the sender on the instance whose turn it is, while any client service has a webhook

How an event goes. The end of an operation leaves it in the same transaction (`store/webhooks.py`), so an event is neither lost
nor told of an end that was rolled back. One instance at a time sends, under a leased duty. It claims events, posts each, and
notes how that ended.

    TO_SEND ──claim──► in flight ──2xx──► DELIVERED ──(retention)──► removed
       ▲                  │  │ │
       │  a pause by      │  │ └──410──► GIVEN_UP, as everything for this receiver: the webhook is off
       └──the schedule────┘  └──the last try has failed──► GIVEN_UP ──redeliver──► TO_SEND

Guarantees: each event is delivered at least once as long as its receiver answers with 2xx within the time of the schedule; each
delivery of an event has the same `webhook-id`; no order is promised. A receiver that hangs or fails takes no time from others.
What a receiver answers is neither stored nor logged, but for its status.
"""
