package detector

import "time"

// Census is what this node reaches of all sets at one moment.
type Census struct {
	// Masters are those of all sets; Silent are those of them that this node holds down, or that have not answered it lately.
	Masters, Silent int
	// Reached: an instance that is not held down has answered lately, and its answer shows that the way to those that are
	// silent is there on this node's side. It matters only where [Brake.Asks].
	Reached bool
}

// brakeLeast is how many masters must be silent before a node doubts itself: of fewer, half may well be on one machine.
const brakeLeast = 10

// brakeSettles is for how long something must answer again until a node that has doubted itself trusts its verdicts: what
// was cut off with it does not come back at one moment.
const brakeSettles = 2 * time.Second

// Brake has a node doubt itself where too much is down at once: a network that takes away more than half of all masters and
// leaves nothing at all is most likely this node's own. A rack that dies with most of the masters is another thing: their
// replicas elsewhere answer. The zero value has no doubts.
type Brake struct {
	on      bool
	reached time.Time // since when something answers again; zero while nothing does
}

// Judge tells whether the node is to withhold new verdicts. percent is the share of all masters from which on it doubts
// itself; 0 = never. It is asked again while verdicts are withheld.
func (b *Brake) Judge(now time.Time, c Census, percent int) bool {
	tooMany := c.tooMany(percent)
	switch {
	case !b.on:
		b.on = tooMany && !c.Reached
	case !tooMany && !c.Reached, percent == 0: // an operator has said so, or the masters are gone
		b.Release()
	case !c.Reached:
		b.reached = time.Time{}
	case b.reached.IsZero():
		b.reached = now
	case now.Sub(b.reached) >= brakeSettles:
		b.Release()
	}
	return b.on
}

// Asks tells whether Judge goes by what is reached: where few are silent and there is no doubt it does not.
func (b *Brake) Asks(c Census, percent int) bool { return b.on || c.tooMany(percent) }

func (c Census) tooMany(percent int) bool {
	return percent > 0 && c.Silent >= brakeLeast && 100*c.Silent > percent*c.Masters
}

// Release ends the doubt: there is nothing to withhold.
func (b *Brake) Release() { *b = Brake{} }
