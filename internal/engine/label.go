package engine

// The labels that ccc puts on what it makes. Together they are the state of a
// session: enough to list, adopt, expire and remove it after any crash, by any
// later version that knows the schema.
const (
	// LabelSchema marks an object as ccc's and gives the version of these
	// labels; [Schema] is the current one.
	LabelSchema = "io.ccc.schema"
	// LabelID is the session's identity.
	LabelID = "io.ccc.id"
	// LabelName is the session's name.
	LabelName = "io.ccc.name"
	// LabelProject is the host path of the project.
	LabelProject = "io.ccc.project"
	// LabelWorkspace is the workspace mode.
	LabelWorkspace = "io.ccc.workspace"
	// LabelLevel is the policy level.
	LabelLevel = "io.ccc.profile"
	// LabelImage is, on a container, the image's name as asked for; on an
	// image it marks one that was made for ccc, its value the recipe.
	LabelImage = "io.ccc.image"
	// LabelCreated and LabelExpires are times in RFC 3339.
	LabelCreated = "io.ccc.created"
	LabelExpires = "io.ccc.expires"
	// LabelGrant is the grant in JSON: what policy allowed, and what a start
	// after this one is held to.
	LabelGrant = "io.ccc.grant"
	// LabelUser prefixes the user's own labels.
	LabelUser = "io.ccc.user."
)

// Schema is the version of the labels above, as [LabelSchema] holds it.
const Schema = "1"
