package bounce

import (
	"fmt"
	"time"
)

// kind is one sort of notification, in the words of Postfix's built-in
// templates (bounce(5)).
type kind struct {
	name       string // in the log
	subject    string
	postmaster string // subject of the postmaster's copy
	action     string // RFC 3464 section 2.3.3; empty: the result says
	text       string // what the sender reads; see fill
}

var failure = &kind{
	name:       "non-delivery",
	subject:    "Undelivered Mail Returned to Sender",
	postmaster: "Postmaster Copy: Undelivered Mail",
	action:     "failed",
	text: `This is the mail system at host %[1]s.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
`,
}

var delay = &kind{
	name:       "delay",
	subject:    "Delayed Mail (still being retried)",
	postmaster: "Postmaster Warning: Delayed Mail",
	action:     "delayed",
	text: `This is the mail system at host %[1]s.

####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than %[2]d hour(s).
It will be retried until it is %[3]d day(s) old.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
`,
}

var success = &kind{
	name:    "delivery status",
	subject: "Successful Mail Delivery Report",
	text: `This is the mail system at host %[1]s.

Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
`,
}

// fill puts host and times into the text. Only the text of delays has all
// three.
func (k *kind) fill(o Options) string {
	if k != delay {
		return fmt.Sprintf(k.text, o.Myhostname)
	}
	return fmt.Sprintf(k.text, o.Myhostname, int(o.DelayWarning/time.Hour), int(o.QueueLifetime/(24*time.Hour)))
}
