#!/bin/sh
# Everything that a device can do, with Mosquitto's own commands (Debian: apt install mosquitto-clients; macOS: brew
# install mosquitto). Take a line and change it; run whole, it shows the way of one reminder.
#
#     scripts/examples/mosquitto.sh [BROKER [SITE]]
set -eu
broker=${1:-localhost} home=assistant/${2:-home}

say() { mosquitto_pub -h "$broker" -q 1 -t "$home/$1" -m "$2"; }

# Ask, as a device that has a name, and wait for the answer. (By MQTT 5, which the embedded broker does not speak, one
# command does both: mosquitto_rr -h "$broker" -V mqttv5 -t "$home/request" -e "example/answer" -m ...)
mosquitto_sub -h "$broker" -t "$home/reply/example" -C 1 -W 10 &
sleep 1
say request '{"text": "remind me to stretch in 2 seconds", "device": "example"}'
wait
# Wait for the ring, and acknowledge it.
mosquitto_sub -h "$broker" -t "$home/due/example" -C 1 -W 10
say ack "snooze 10 minutes"
say ack done
# The next reminders and the state are there at once.
mosquitto_sub -h "$broker" -t "$home/reminders" -C 1 -W 5
mosquitto_sub -h "$broker" -t "$home/status" -C 1 -W 5

# More lines to take:
#   say request "what have I got tomorrow"                       the answer is at .../reply
#   say request '{"text": "call mum at 5", "id": "'"$(uuidgen)"'"}'  may be sent again, and is set once
#   say ack '{"action": "done", "id": 12}'                       one by its number
#   say listen ""                                                push to talk: the assistant's own microphone
#   say mute on                                                  close it; off opens it again
#   mosquitto_pub -h "$broker" -t "$home/audio" -f words.wav     what was said, as a recording
#   mosquitto_sub -h "$broker" -v -t "$home/#"                   everything
