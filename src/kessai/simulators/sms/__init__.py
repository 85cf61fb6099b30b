"""An SMS sender: a real HTTP server that keeps what was sent, and misbehaves when it is told to.

simulator = SmsSimulator(now=clock.now)
await simulator.start()
simulator.url                              # http://127.0.0.1:…, for the platform; `KEY` is its credential
simulator.inbox.to("+819012345678")        # what has arrived there, oldest first
simulator.faults.program(Fault(verb="send", reply="drop"))
await simulator.stop()
"""

from kessai.simulators.sms.inbox import LOST, UNREACHABLE, Declined, Inbox, Sms, SmsBody
from kessai.simulators.sms.simulator import KEY, SmsSimulator

__all__ = ["KEY", "LOST", "UNREACHABLE", "Declined", "Inbox", "Sms", "SmsBody", "SmsSimulator"]
