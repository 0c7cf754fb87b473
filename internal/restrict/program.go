package restrict

// Stage is the command at which the server asks for a decision.
type Stage uint8

const (
	StageConnect Stage = iota + 1
	StageHelo
	StageMail
	StageRcpt
	StageVrfy
	StageETRN
	StageData
	StageEndOfData
)
