"""releases that roll out are found without reading all

Revision: 0009, after 0008
"""

from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_releases_state', 'releases', ['state'])


def downgrade() -> None:
    op.drop_index('ix_releases_state', 'releases')
