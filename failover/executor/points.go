package executor

// Point is a place between two effects. A build with the tag "failpoints" kills or freezes the process when it comes to
// the points that the environment variable SENTINELD_FAILPOINT names, one after the other, with commas between: NAME sends
// SIGKILL, NAME:freeze SIGSTOP.
type Point string

// The points, in the order of a failover: before and after each command to Redis, and before and after each commit.
const (
	BeforeBegin   Point = "begin.before-commit"
	AfterBegin    Point = "begin.after-commit"
	BeforeFence   Point = "fence.before-verify"
	AfterFence    Point = "fence.after-verify"
	BeforePause   Point = "pause.before-command"
	AfterPause    Point = "pause.after-command"
	BeforeDown    Point = "step-down.before-command"
	AfterDown     Point = "step-down.after-command"
	AfterCheck    Point = "check.after-reading"
	BeforePromote Point = "promote.before-command"
	AfterPromote  Point = "promote.after-command"
	BeforeSwitch  Point = "switch.before-commit"
	AfterSwitch   Point = "switch.after-commit"
	BeforeBack    Point = "rollback.before-commit"
	AfterBack     Point = "rollback.after-commit"
	BeforeMove    Point = "move.before-command"
	AfterMove     Point = "move.after-command"
	BeforeSave    Point = "save.before-command"
	AfterSave     Point = "save.after-command"
	BeforeRepoint Point = "repoint.before-command"
	AfterRepoint  Point = "repoint.after-command"
	BeforeDemote  Point = "demote.before-command"
	AfterDemote   Point = "demote.after-command"
	BeforeRecord  Point = "record.before-commit"
	AfterRecord   Point = "record.after-commit"
	BeforeEnd     Point = "end.before-commit"
	AfterEnd      Point = "end.after-commit"
	BeforeAdopt   Point = "adopt.before-commit"
	AfterAdopt    Point = "adopt.after-commit"
	BeforeRestore Point = "restore.before-command"
	AfterRestore  Point = "restore.after-command"
)

// Points lists them all.
func Points() []Point {
	return []Point{
		BeforeBegin, AfterBegin, BeforeFence, AfterFence, BeforePause, AfterPause, BeforeDown, AfterDown, AfterCheck, BeforePromote, AfterPromote, BeforeSwitch, AfterSwitch,
		BeforeBack, AfterBack, BeforeMove, AfterMove, BeforeSave, AfterSave, BeforeRepoint, AfterRepoint, BeforeDemote, AfterDemote, BeforeRecord, AfterRecord, BeforeEnd, AfterEnd,
		BeforeAdopt, AfterAdopt, BeforeRestore, AfterRestore,
	}
}
