"""A button for what rings: Enter acknowledges it, a number snoozes it for so many minutes.

    pip install paho-mqtt && python button.py BROKER

On a Raspberry Pi put gpiozero's `Button(17).wait_for_press` in the place of `input`.
"""

import json
import sys

import paho.mqtt.client as mqtt

HOME = "assistant/home"
ringing: list[int] = []


def connected(client: mqtt.Client, *_: object) -> None:
    client.subscribe([(f"{HOME}/due", 1), (f"{HOME}/reply/button", 1)])


def message(_: mqtt.Client, __: object, got: mqtt.MQTTMessage) -> None:
    body = json.loads(got.payload)
    if got.topic.endswith("/due"):
        ringing.append(body["id"])
        print("\a*", body["task"] or "a private reminder", f"({body['late']} s late)" if body["late"] else "")
    else:
        print("->", body["reply"])


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "button", protocol=mqtt.MQTTv5)
client.on_connect, client.on_message = connected, message
client.connect_async(sys.argv[1] if len(sys.argv) > 1 else "localhost")
client.loop_start()
for pressed in sys.stdin:
    if ringing:
        ack = {"action": "done", "id": ringing.pop(), "device": "button"}
        if pressed.strip().isdecimal():
            ack |= {"action": "snooze", "minutes": int(pressed)}
        client.publish(f"{HOME}/ack", json.dumps(ack), 1).wait_for_publish(10)
