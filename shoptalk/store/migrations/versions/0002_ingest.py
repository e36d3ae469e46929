"""arrivals are claimed by drains

Revision: 0002, after 0001
"""

from alembic import op
import sqlalchemy as sa
import shoptalk.store.tables

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('arrivals', sa.Column('claimed_until', shoptalk.store.tables.Time(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('arrivals', 'claimed_until')
