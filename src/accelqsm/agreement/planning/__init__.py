"""How many subjects a study needs, from what a pilot has shown."""

from accelqsm.agreement.planning.plan import plan_subjects as plan_subjects
