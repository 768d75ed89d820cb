"""What the scripted demonstrator says, several ways each. `test_sayings` holds every one against the customer's ear."""

from __future__ import annotations

SAYINGS: dict[str, tuple[str, ...]] = {
    "ask_any": (
        "Hello, thank you for contacting us. May I have the phone number or e-mail address on your account?",
        "Good day! To find your account, could you give me your phone number or your e-mail address?",
        "I am happy to help. Please tell me the phone number or e-mail address you registered with.",
        "Sure. Before we start I need to verify your identity: what is your phone number or e-mail?",
    ),
    "ask_phone": (
        "Hello, welcome to the service desk. What is the phone number on your account?",
        "I can help with that. Could you share the phone number you are registered with?",
        "Please give me your phone number first, so that I can find your account.",
    ),
    "ask_email": (
        "Hello, welcome to the service desk. Which e-mail address is on your account?",
        "I can help with that. May I have your e-mail address, please?",
        "First I need the e-mail address of your account.",
    ),
    "wait": (
        "Thank you, {name}. One moment please, I will look at your account.",
        "Thanks, {name}. Bear with me while I check your records.",
        "Thank you, {name}. Let me look into this.",
    ),
    "ask_line": (
        "I see more than one line here: {lines}. Which line is it about?",
        "You have the lines {lines}. Which of them do you mean, that is, which line?",
        "Which of your lines are we talking about, {lines_or}?",
    ),
    "check_lights": (
        "Please have a look at the lights on your router and tell me what they show.",
        "Could you check the lights of the router for me?",
        "What do the lights on the router look like?",
        "As a first step, please check the router's lights.",
        "Can you tell me which colours the lights on the router have?",
    ),
    "replug_cable": (
        "Please unplug the fibre cable from the router and plug it in again.",
        "The fibre light should not be red. Could you replug the fibre cable?",
        "I would like you to pull out the fibre cable and push it back in firmly.",
        "Next, please reseat the fibre cable at the router.",
    ),
    "check_again": (
        "Thank you. Please check the lights once more.",
        "And what do the lights show now?",
        "Could you look at the lights again?",
    ),
    "reboot_router": (
        "Please restart the router now.",
        "Could you reboot your router?",
        "Next I need you to power cycle the router.",
        "Please switch the router off and on again.",
    ),
    "toggle_wifi": (
        "The wifi is switched off at the router. Please turn the wifi on.",
        "Could you switch the Wi-Fi on at the router?",
        "Please enable the wireless network on the router.",
    ),
    "set_dns": (
        "Please set the DNS server to automatic in the router's menu.",
        "Could you open the router's menu and change the DNS setting to automatic?",
        "The line is fine, so I suggest you reset the DNS setting to automatic.",
    ),
    "run_speed_test": (
        "Please run a speed test now.",
        "Could you do a speed test, so that we see whether it works?",
        "To be sure, please start a speed test.",
        "Does the internet work now?",
    ),
    "read_serial": (
        "Please read me the serial number on the label of your router.",
        "Could you tell me the serial number of the router?",
        "What is the serial number printed on your router?",
    ),
    "fixed": (
        "Good news: the speed test shows {mbit} Mbit/s, so line {line} works again.",
        "That is the full {mbit} Mbit/s. The fault on line {line} is fixed.",
        "Line {line} is working again with {mbit} Mbit/s.",
    ),
    "confirm_reset": (
        "The port of line {line} is stuck. Shall I reset it?",
        "I see that the port of your line {line} hangs. May I reset the port now?",
        "A reset of the port on line {line} should help. Is that okay for you?",
    ),
    "confirm_plan": (
        "The {plan} plan costs {price} euro a month. Shall I change line {line} to it?",
        "I can put line {line} on the {plan} plan for {price} euro a month. Do you want me to do that?",
        "Changing line {line} to {plan} means {price} euro a month from now on. Is that okay?",
    ),
    "plan_changed": (
        "Line {line} is on the {plan} plan now, for {price} euro a month.",
        "Done. Your line {line} has the {plan} plan for {price} euro a month.",
    ),
    "plan_kept": (
        "Understood. At {price} euro for {plan} I leave line {line} unchanged.",
        "No problem, nothing changes: line {line} keeps its plan and you do not pay {price} euro.",
    ),
    "plan_blocked": (
        "I am sorry, I cannot change the plan of line {line}: the invoice {invoice} of {amount} euro is still open.",
        (
            "Unfortunately line {line} has an open invoice, {invoice}, of {amount} euro. The plan cannot be "
            "changed until it is paid."
        ),
    ),
    "confirm_credit": (
        (
            "I found the outage {outage} on {day}. It lasted {hours} hours, so I can credit {amount} euro "
            "to line {line}. Shall I do that?"
        ),
        "For the outage on {day} a credit of {amount} euro on line {line} is possible. Would you like me to issue it?",
        "May I issue a credit of {amount} euro for the outage on {day} to line {line}?",
    ),
    "confirm_less": (
        (
            "I am sorry, I cannot give you {asked} euro. For the outage of {hours} hours on {day} I can "
            "credit at most {amount} euro to line {line}. Shall I issue that?"
        ),
        (
            "Unfortunately {asked} euro is not possible. The rule allows {amount} euro for the outage on "
            "{day} on line {line}. May I issue this credit?"
        ),
    ),
    "no_outage": (
        "I am sorry, there was no outage in {area}, so I cannot issue a credit.",
        "Unfortunately I see no outage in {area}. A credit is not possible.",
    ),
    "credited": (
        "I have issued the credit {credit} of {amount} euro to line {line}.",
        "Done, {amount} euro have been credited to line {line}. The credit number is {credit}.",
    ),
    "invoice": (
        "Your invoice for {month} on line {line} was {amount} euro.",
        "For {month} you were charged {amount} euro on line {line}.",
        "The amount for {month} is {amount} euro, invoice {invoice}, line {line}.",
    ),
    "offer_slots": (
        "The free slots for a technician are {slots}. Which one suits you?",
        "I can offer these visits: {slots}. Which of these slots do you prefer?",
        "A technician could come on {slots}. Which slot would you like?",
    ),
    "confirm_visit": (
        "Shall I book slot {slot} on {day} in the {part} for line {line}?",
        "So I would schedule the technician for {day}, {part}, slot {slot}. Is that right?",
        "May I book the visit on {day} in the {part}, slot {slot}?",
    ),
    "confirm_move": (
        "Shall I cancel visit {visit} and book slot {slot} on {day} in the {part} instead?",
        "I would cancel {visit} and book the visit on {day}, {part}, slot {slot}. Is that okay?",
    ),
    "ask_accept": (
        "The visit {visit} is proposed. Please accept it in the app: {visit}.",
        "Please accept the visit {visit} in your app.",
        "I have booked visit {visit}. Could you accept the visit {visit} in the app?",
    ),
    "visit_booked": (
        "Thank you. The technician comes on {day} in the {part}, visit {visit}.",
        "The visit {visit} on {day} in the {part} is fixed now.",
    ),
    "confirm_cancel": (
        "I see visit {visit} on {day} in the {part}. Shall I cancel it?",
        "Do you want me to cancel visit {visit} on {day}?",
        "May I cancel the technician's visit {visit} on {day}?",
    ),
    "cancelled": (
        "Visit {visit} has been cancelled.",
        "Done, the visit {visit} is cancelled.",
    ),
    "serial_matches": (
        "The serial number {serial} matches our record for line {line}. Your router is the registered one.",
        "Thank you, {serial} is the router registered for line {line}.",
    ),
    "confirm_transfer": (
        (
            "The serial number {serial} differs from our record. A colleague has to look at this. Shall I "
            "transfer you to a colleague?"
        ),
        "Our record shows another router than {serial}. May I connect you with a specialist?",
    ),
    "anything_else": (
        "Is there anything else I can do for you?",
        "Can I help you with anything else?",
        "Do you have any other questions?",
        "Anything else?",
    ),
    "goodbye": (
        "Thank you for contacting us. Goodbye!",
        "Have a nice day, goodbye.",
        "Thanks for calling, and have a good day!",
        "You are welcome. Bye!",
    ),
    "working_check": (
        "Is everything working for you now?",
        "Does it work on your side now?",
    ),
    "wrong_plan": ("The {plan} plan costs {price} euro a month. Shall I change line {line} to the {plan} plan?",),
}
"""What is said -> the ways to say it, filled with facts from observations."""
