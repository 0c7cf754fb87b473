package qmgr

import (
	"context"
)

// finishProbe ends an address probe: it leaves the queue whatever came of it,
// nobody is notified, and address verification learns the outcome. Only a probe
// that was cut short stays, to be sent again.
func (j *job) finishProbe(kill context.Context) {
	if kill.Err() != nil || len(j.results) < len(j.env.Recipients) {
		if err := j.msg.Defer(j.m.o.Clock.Now(), nil); err != nil {
			j.m.log.Error(err.Error())
		}
		return
	}
	j.remove()
	for i, to := range j.env.Recipients {
		if r, ok := j.results[i]; ok {
			j.m.o.Verified(to.Original, to.Address, r)
		}
	}
}

// tooManyProbes reports whether more probes are being delivered than
// address_verify_pending_request_limit allows.
func (m *Manager) tooManyProbes() bool { return m.probes.Load() > int64(m.o.ProbeLimit) }
